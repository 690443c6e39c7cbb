import { crc32 } from 'node:zlib'

/** How long a checksum is. */
export const checksumDigits = 8

const pairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** CRC-32 as gzip has it, of a text's UTF-8, in hexadecimal: finds what was torn or went bad, not what somebody changed. */
export function checksum(data: string | Uint8Array): string {
  const sum = crc32(data)
  // By two digits: as one number it is more than V8 counts in, and would be written by dividing fractions.
  return pairs[sum >>> 24]! + pairs[(sum >>> 16) & 0xff]! + pairs[(sum >>> 8) & 0xff]! + pairs[sum & 0xff]!
}
