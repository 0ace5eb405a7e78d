import { createFileSink } from "../audit/file-sink.ts";
import { createAuditLog } from "../audit/log.ts";
import type { AuditLog } from "../audit/record.ts";
import type { Sink } from "../audit/sink.ts";
import { createStdoutSink } from "../audit/stdout-sink.ts";
import type { Config } from "../config/config.ts";
import { createAuditStream } from "../nats/audit-stream.ts";
import type { Control } from "../nats/control.ts";
import type { Base } from "./base.ts";
import { meterAudit } from "./metered.ts";

/** What the sinks write to, or under whose name. */
interface SinkParts {
  /** For the stream AUDIT. */
  readonly control: Control;
  readonly instance: string;
}

/** The audit log with the sinks that the configuration names; what they do not take is counted and logged. */
export function openAudit(base: Base, parts: SinkParts): AuditLog {
  const { config, log, metrics, running } = base;
  const unwritten = metrics
    .counter({
      name: "countersign_records_unwritten_total",
      help: "Records not written; they had no effect.",
    })
    .of();
  const audit = createAuditLog({
    sinks: config.audit.map((target) => openSink(base, target, parts)),
    onFault: (fault) => {
      unwritten.add(fault.records);
      log.error({ ...fault }, "audit record not written");
    },
  });
  running.add(() => audit.close());
  return meterAudit(audit, metrics);
}

function openSink({ log }: Base, target: Config["audit"][number], { control, instance }: SinkParts): Sink {
  switch (target.to) {
    case "stdout":
      return createStdoutSink();
    case "file":
      return createFileSink({ ...target, onFault: (why) => log.error({ why }, "audit file") });
    case "stream":
      return createAuditStream({ control, instance });
  }
}
