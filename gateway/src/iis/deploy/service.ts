import { comment, indented, lines, markup } from "./markup.ts";
import type { DeployWish } from "./wish.ts";

/**
 * The gateway as a Windows service by WinSW 3, whose program is not ours and is not shipped.
 *
 * @source winsw/winsw, docs/xml-config-file.md
 */
export function serviceConfig({ node, folder }: DeployWish): string {
  const run = `"${folder}\\countersign.js" serve --config "${folder}\\countersign.yaml"`;
  const service = lines(
    markup`<?xml version="1.0" encoding="utf-8"?>`,
    comment(
      "For WinSW 3: put its program beside this file under the name countersign-service.exe, then: countersign-service.exe install. Written by: countersign iis init.",
    ),
    markup`<service>
  <id>countersign</id>
  <name>Countersign</name>
  <description>NATS behind a web sign-in: the gateway behind IIS</description>
  <executable>${node}</executable>
  <arguments>${run}</arguments>
  <workingdirectory>${folder}</workingdirectory>`,
    indented(comment("No rights but its own files: who may read them is set by the server script."), 2),
    markup`  <serviceaccount>
    <username>NT AUTHORITY\\LocalService</username>
  </serviceaccount>
  <startmode>Automatic</startmode>`,
    indented(comment("Ctrl+C first, which ends the gateway in good order: longer than limits: drain."), 2),
    markup`  <stoptimeout>20 sec</stoptimeout>`,
    indented(comment("It ends by itself after half a minute without NATS."), 2),
    markup`  <onfailure action="restart" delay="5 sec" />
  <onfailure action="restart" delay="30 sec" />
  <resetfailure>1 hour</resetfailure>
  <logpath>${folder}\\logs</logpath>
  <log mode="roll-by-size">
    <sizeThreshold>10240</sizeThreshold>
    <keepFiles>8</keepFiles>
  </log>
</service>`,
  );
  return `${service.text}\n`;
}
