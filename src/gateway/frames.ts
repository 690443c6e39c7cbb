/** A larger piece is not worth a copy. */
export const textBytesMax = 64 * 1024

/** Nothing follows in this answer. RFC 9112, 7.1. */
export const lastFrame = '0\r\n\r\n'

/**
 * One piece of a stream, as a text of one byte a letter. Node frames each chunk in four pieces, which go to the system as a list; small ones
 * as one such text cost a tenth less of a streamed event, and as much of a whole answer.
 */
export function framed(raw: Buffer): string {
  return `${raw.length.toString(16)}\r\n${raw.toString('latin1')}\r\n`
}
