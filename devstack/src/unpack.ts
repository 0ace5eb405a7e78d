import { gunzipSync, inflateRawSync } from "node:zlib";

/** Largest unpacked archive, bytes: three times what nats-server needs today. */
const UNPACKED_BYTES_MAX = 96 * 1024 * 1024;

/**
 * Takes one file out of a gzipped tar archive (POSIX.1-1988 ustar, the prefix field left aside).
 *
 * @param fileName  last segment of the path inside the archive
 * @returns undefined when no regular file is called that
 */
export function fileFromTarGz(archive: Uint8Array, fileName: string): Uint8Array | undefined {
  const tar = gunzipSync(archive, { maxOutputLength: UNPACKED_BYTES_MAX });
  const blockBytes = 512;
  for (let at = 0; at + blockBytes <= tar.length; ) {
    const path = textUntilNul(tar.subarray(at, at + 100));
    if (path === "") return undefined;
    const bytes = Number.parseInt(textUntilNul(tar.subarray(at + 124, at + 136)), 8);
    if (!Number.isSafeInteger(bytes) || bytes < 0) return undefined;
    const type = tar[at + 156];
    const start = at + blockBytes;
    // Type "0" or NUL is a regular file: a link must not stand in for the executable.
    if ((type === 0x30 || type === 0) && lastSegment(path) === fileName) {
      return tar.subarray(start, start + bytes);
    }
    at = start + Math.ceil(bytes / blockBytes) * blockBytes;
  }
  return undefined;
}

/**
 * Takes one file out of a ZIP archive by its central directory (APPNOTE.TXT §4.3.12), stored or deflated.
 *
 * @param fileName  last segment of the path inside the archive
 * @returns undefined when no entry is called that
 */
export function fileFromZip(archive: Uint8Array, fileName: string): Uint8Array | undefined {
  const zip = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) return undefined;
  const entries = zip.readUInt16LE(end + 10);
  let at = zip.readUInt32LE(end + 16);
  for (let entry = 0; entry < entries; entry++) {
    const method = zip.readUInt16LE(at + 10);
    const packedBytes = zip.readUInt32LE(at + 20);
    const nameBytes = zip.readUInt16LE(at + 28);
    const path = zip.toString("utf8", at + 46, at + 46 + nameBytes);
    if (lastSegment(path) === fileName) {
      const local = zip.readUInt32LE(at + 42);
      // The local header's own extra field may have another length than the directory's.
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const packed = zip.subarray(start, start + packedBytes);
      if (method === 0) return packed;
      if (method === 8) return inflateRawSync(packed, { maxOutputLength: UNPACKED_BYTES_MAX });
      return undefined;
    }
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return undefined;
}

function textUntilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("utf8");
}

function lastSegment(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
