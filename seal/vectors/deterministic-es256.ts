import { createHash, createHmac } from "node:crypto";

// P-256 (FIPS 186-4 §D.1.2.3). This is slow and leaks the key through its timing: for the vectors' key, which is public.
const P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const A = P - 3n;
const G: Point = {
  x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
};

interface Point {
  readonly x: bigint;
  readonly y: bigint;
}

/**
 * Signs with ES256 so that the same input always gives the same signature (RFC 6979 §3.2), which node:crypto does
 * not: the vectors then change only when what they say changes.
 *
 * @param privateKey  the scalar
 * @returns r and s, 32 bytes each
 */
export function signDeterministically(input: string, privateKey: bigint): Buffer {
  const digest = createHash("sha256").update(input).digest();
  const z = toBigInt(digest);
  for (const k of nonces(privateKey, z)) {
    const r = mod(multiply(k, G).x, N);
    const s = mod(inverse(k, N) * (z + r * privateKey), N);
    if (r !== 0n && s !== 0n) return Buffer.concat([toBytes(r), toBytes(s)]);
  }
  throw new Error("unreachable: nonces do not end");
}

/** The public half, as members of a JWK. */
export function publicJwk(privateKey: bigint): { kty: "EC"; crv: "P-256"; x: string; y: string } {
  const { x, y } = multiply(privateKey, G);
  return {
    kty: "EC",
    crv: "P-256",
    x: toBytes(x).toString("base64url"),
    y: toBytes(y).toString("base64url"),
  };
}

function* nonces(privateKey: bigint, z: bigint): Generator<bigint> {
  const seed = Buffer.concat([toBytes(privateKey), toBytes(mod(z, N))]);
  let v: Buffer = Buffer.alloc(32, 1);
  let k: Buffer = Buffer.alloc(32, 0);
  for (const separator of [0, 1]) {
    k = hmac(k, Buffer.concat([v, Buffer.of(separator), seed]));
    v = hmac(k, v);
  }
  while (true) {
    v = hmac(k, v);
    const candidate = toBigInt(v);
    if (candidate > 0n && candidate < N) yield candidate;
    k = hmac(k, Buffer.concat([v, Buffer.of(0)]));
    v = hmac(k, v);
  }
}

function multiply(scalar: bigint, point: Point): Point {
  let result: Point | undefined;
  let power = point;
  for (let rest = scalar; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = result ? add(result, power) : power;
    power = add(power, power);
  }
  if (!result) throw new RangeError("Cannot multiply: expected a scalar above 0");
  return result;
}

function add(p: Point, q: Point): Point {
  const slope =
    p.x === q.x
      ? mod((3n * p.x * p.x + A) * inverse(2n * p.y, P), P)
      : mod((q.y - p.y) * inverse(q.x - p.x, P), P);
  const x = mod(slope * slope - p.x - q.x, P);
  return { x, y: mod(slope * (p.x - x) - p.y, P) };
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b] = [mod(value, modulus), modulus];
  let [x, y] = [1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b] = [b % a, a];
    [x, y] = [y - quotient * x, x];
  }
  return mod(x, modulus);
}

function mod(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

function toBigInt(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString("hex")}`);
}

function toBytes(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, "0"), "hex");
}
