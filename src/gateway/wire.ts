import type { IncomingHttpHeaders } from 'node:http'
import type { Soon } from '../lib/soon.ts'
import type { Body, BodyParts } from './body.ts'

/** What a request says before its body, and who is at the other end. */
export interface Asking {
  readonly method?: string | undefined
  /** With the query string. */
  readonly url?: string | undefined
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders
  readonly socket: { readonly remoteAddress?: string | undefined }
}

/**
 * How one request came and its answer leaves, in bytes: nothing here knows what they mean. An answer is either `head` and its parts, the last
 * by `endWhole`, or `beginStream` and its pieces, the last by `end`.
 */
export interface Wire {
  readonly asking: Asking
  /** Calls `then` once, when the last byte was handed to the system or the client is gone. */
  onOver(then: () => void): void
  offOver(then: () => void): void
  /** Reads the body to its end, decoded; at once when all of it is here. Throws or rejects with the faults of SPEC 1.2 that concern bytes. */
  read(parts: BodyParts): Soon<Body>
  /**
   * Nobody wants what is still to come of the request. False when that may be too much to skip: then the answer has to say that the connection
   * is closed, and ends after `afterRest`.
   */
  skipRest(): boolean
  /** Calls `then` when nothing more comes of the request, but soon in any case. */
  afterRest(then: () => void): void
  /** Throws for a header that HTTP does not allow. */
  head(status: number, headers: Readonly<Record<string, string>>): void
  /** Of an answer whose length was told. False when the reader is slow: write no more before `onDrain`. */
  writePart(bytes: Buffer): boolean
  endWhole(last: Buffer): void
  beginStream(status: number, headers: Readonly<Record<string, string>>): void
  /** One piece of a stream. False as `writePart`. */
  write(raw: Buffer): boolean
  end(last: Buffer | undefined): void
  /** Calls `go` once when the reader has taken what is buffered. */
  onDrain(go: () => void): void
  /** The reader was too slow for what was written last, and has not caught up. */
  readonly isFull: boolean
  /** Written, and not handed to the system yet. Bytes. */
  readonly unsentBytes: number
  /** Ends the connection at once. */
  cut(): void
}
