import type { AuditLog } from "../audit/record.ts";
import type { Metrics } from "../metrics.ts";

/**
 * Counts what the audit log is told: so the figures on a dashboard and the records an auditor reads are the same
 * thing counted.
 */
export function meterAudit(audit: AuditLog, metrics: Metrics): AuditLog {
  const decisions = metrics.counter({
    name: "countersign_decisions_total",
    help: "Decisions by outcome and, of refusals, reason.",
    labels: ["outcome", "reason"],
  });
  const completions = metrics.counter({
    name: "countersign_completions_total",
    help: "Effects by how they ended.",
    labels: ["outcome"],
  });
  // Held, because nearly every decision is one of these.
  const allowed = decisions.of("allowed", "");
  return {
    record(entry, durable) {
      const series = entry.refusal ? decisions.of("refused", entry.refusal.reason) : allowed;
      series.add();
      return audit.record(entry, durable);
    },
    complete(entry) {
      completions.of(entry.outcome).add(entry.txns.length);
      audit.complete(entry);
    },
    close: () => audit.close(),
  };
}
