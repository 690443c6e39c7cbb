import type { Value } from './database.ts'
import { exact } from './exact.ts'

/**
 * Messages of PostgreSQL's extended query protocol, one behind the other in one piece of memory, so that a batch is one write
 * to the socket. Formats: postgresql.org/docs/current/protocol-message-formats.html.
 *
 * Values travel as text, so that no number is ever rounded on the way; bytes travel as they are.
 */
export class Messages {
  #bytes = Buffer.allocUnsafe(startBytes)
  #at = 0
  /** Where the length of the message being written stands. */
  #lengthAt = 0

  /** What was written, until `clear`. It is memory that is used again: whoever sends it clears once the server has read it. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  clear(): void {
    this.#at = 0
    // One large batch must not keep its memory for ever.
    if (this.#bytes.length > keptBytesMax) this.#bytes = Buffer.allocUnsafe(startBytes)
  }

  /** Prepares a statement under a name, and asks what it will return. `types` are OIDs, 0 for what the server is to guess. */
  prepare(name: string, sql: string, types: readonly number[]): void {
    this.#begin('P')
    this.#name(name)
    this.#name(sql)
    this.#uint16(types.length)
    for (const type of types) this.#int32(type)
    this.#end()
    this.#begin('D')
    this.#letter('S')
    this.#name(name)
    this.#end()
  }

  /** Runs a prepared statement, whose rows come as text. Throws what `exact` throws. */
  run(name: string, values: readonly Value[]): void {
    this.#begin('B')
    this.#name('')
    this.#name(name)
    this.#formats(values)
    this.#uint16(values.length)
    for (const value of values) this.#value(value)
    this.#uint16(0)
    this.#end()
    this.#begin('E')
    this.#name('')
    this.#int32(0)
    this.#end()
  }

  /** The end of a batch: what fails before it makes the server skip the rest. */
  sync(): void {
    this.#begin('S')
    this.#end()
  }

  /** Nothing said is all text. */
  #formats(values: readonly Value[]): void {
    if (!values.some(value => value instanceof Uint8Array)) return this.#uint16(0)
    this.#uint16(values.length)
    for (const value of values) this.#uint16(value instanceof Uint8Array ? 1 : 0)
  }

  #value(value: Value): void {
    const whole = exact(value)
    if (whole === null) return this.#int32(-1)
    if (typeof whole === 'bigint') return this.#text(whole.toString())
    if (typeof whole === 'string') return this.#text(withoutNul(whole))
    this.#int32(whole.byteLength)
    this.#room(whole.byteLength)
    this.#bytes.set(whole, this.#at)
    this.#at += whole.byteLength
  }

  /** With its length in front, which is known afterwards. */
  #text(text: string): void {
    this.#room(4 + text.length * utf8BytesMax)
    const length = this.#bytes.write(text, this.#at + 4)
    this.#bytes.writeInt32BE(length, this.#at)
    this.#at += 4 + length
  }

  #name(text: string): void {
    this.#room(text.length * utf8BytesMax + 1)
    this.#at += this.#bytes.write(text, this.#at)
    this.#bytes[this.#at++] = 0
  }

  #begin(kind: string): void {
    this.#letter(kind)
    this.#lengthAt = this.#at
    this.#int32(0)
  }

  /** The length counts itself, but not the letter in front. */
  #end(): void {
    this.#bytes.writeInt32BE(this.#at - this.#lengthAt, this.#lengthAt)
  }

  #letter(letter: string): void {
    this.#room(1)
    this.#bytes[this.#at++] = letter.charCodeAt(0)
  }

  #uint16(value: number): void {
    this.#room(2)
    this.#at = this.#bytes.writeUInt16BE(value, this.#at)
  }

  #int32(value: number): void {
    this.#room(4)
    this.#at = this.#bytes.writeInt32BE(value, this.#at)
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + bytes))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}

const startBytes = 32 * 1024
const keptBytesMax = 1024 * 1024
/** Of one of JavaScript's characters. */
const utf8BytesMax = 3

/** PostgreSQL cannot keep the character NUL in a text, and a row is worth more than that character. */
export function withoutNul(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\u{fffd}') : text
}
