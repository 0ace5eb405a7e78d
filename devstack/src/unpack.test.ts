import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import { fileFromTarGz, fileFromZip } from "./unpack.ts";

function tarEntry(path: string, content: string, type = "0"): Buffer {
  const header = Buffer.alloc(512);
  header.write(path, 0);
  header.write(content.length.toString(8).padStart(11, "0"), 124);
  header.write(type, 156);
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body]);
}

function zipOf(files: Readonly<Record<string, string>>): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [path, content] of Object.entries(files)) {
    const [name, packed] = [Buffer.from(path), deflateRawSync(content)];
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    local.writeUInt16LE(4, 28);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(8, 10);
    central.writeUInt32LE(crc32(content), 16);
    central.writeUInt32LE(packed.length, 20);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(offset, 42);
    directory.push(central, name);
    locals.push(local, name, Buffer.alloc(4), packed);
    offset += 30 + name.length + 4 + packed.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(files).length, 10);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, ...directory, end]);
}

test("fileFromTarGz() takes the regular file of that name, and no link in its place", () => {
  const tar = Buffer.concat([
    tarEntry("dir/LICENSE", "x".repeat(700)),
    tarEntry("nats-server", "", "2"),
    tarEntry("dir/nats-server", "binary"),
    Buffer.alloc(1024),
  ]);
  const file = fileFromTarGz(gzipSync(tar), "nats-server");
  assert.equal(Buffer.from(file ?? []).toString(), "binary");
  assert.equal(fileFromTarGz(gzipSync(tar), "server"), undefined);
});

test("fileFromZip() takes the file of that name", () => {
  const zip = zipOf({ "dir/README.md": "read", "dir/nats-server.exe": "binary" });
  const file = fileFromZip(zip, "nats-server.exe");
  assert.equal(Buffer.from(file ?? []).toString(), "binary");
  assert.equal(fileFromZip(zip, "nats-server"), undefined);
  assert.equal(fileFromZip(Buffer.from("no archive"), "nats-server"), undefined);
});
