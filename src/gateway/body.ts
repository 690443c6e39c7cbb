import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createZstdDecompress } from 'node:zlib'
import { exactly, joined } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { type Listed, Roster } from '../lib/roster.ts'
import { allocateBody, readAtOnceBytesMax } from '../protocols/read-in-worker.ts'

export interface BodySettings {
  /** After decoding. */
  readonly bodyBytesMax: number
  readonly bodyIdleTimeoutMs: number
  /** Bytes per second, on average. */
  readonly bodyRateMin: number
}

/** The bytes of a body, and their share of what all bodies together may occupy. Both are gone after disposal. */
export interface Body extends Disposable {
  readonly bytes: Buffer
  /**
   * An answer has begun, so the bytes are only wanted to count what was asked, should nobody report it: from now on their room
   * goes to whoever needs it, and a body too large for that is let go at once.
   */
  lend(): void
  /** The bytes, while they are there. */
  readonly kept: Buffer | undefined
}

/** No model reads more text than this: what makes a body larger is images and files, which are counted by their rules. */
const lentBytesMax = 4 * 1024 * 1024

/** A body that nobody needs for sure: it may be taken away. */
type Lent = Disposable & Listed

/** What all buffered bodies together may occupy. */
export class BodyBudget {
  readonly #bytesMax: number
  /** The longest lent first. */
  readonly #lent = new Roster<Lent>()
  #taken = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get takenBytes(): number {
    return this.#taken
  }

  take(bytes: number): void {
    while (this.#taken + bytes > this.#bytesMax && this.#lent.first !== undefined) this.#lent.first[Symbol.dispose]()
    if (this.#taken + bytes > this.#bytesMax) throw new Fault('bodies_full')
    this.#taken += bytes
  }

  give(bytes: number): void {
    this.#taken -= bytes
  }

  lend(body: Lent): void {
    this.#lent.add(body)
  }

  takeBack(body: Lent): void {
    this.#lent.delete(body)
  }
}

export interface BodyParts {
  readonly settings: BodySettings
  readonly budget: BodyBudget
  readonly clock: Clock
  /** Aborted when the gateway stops: an upload may take longer than that can wait. */
  readonly closing: AbortSignal
}

/** Reads a body to its end, decoded; at once when all of it is here. Throws or rejects with the faults of SPEC 1.2 that concern bytes. */
export function readBody(request: IncomingMessage, parts: BodyParts): Body | Promise<Body> {
  const source = decoded(request)
  const arrived = source === request ? readArrived(request, parts.settings.bodyBytesMax) : undefined
  return arrived === undefined ? collect(request, source, parts) : takeBody(arrived, parts.budget)
}

async function collect(request: IncomingMessage, source: Readable, parts: BodyParts): Promise<Body> {
  const collector = new Collector(request, source !== request, parts)
  try {
    await readAll(request, source, collector, parts)
    return collector.finish()
  } catch (error) {
    collector.giveUp()
    throw error
  }
}

/** A body that came whole. Throws `bodies_full` when there is no room for it. */
export function takeBody(bytes: Buffer, budget: BodyBudget): Body {
  budget.take(bytes.length)
  return new KeptBody(bytes, budget, bytes.length)
}

class KeptBody implements Body, Listed {
  before: this | undefined
  after: this | undefined
  #bytes: Buffer | undefined
  readonly #budget: BodyBudget
  /** Of the budget. */
  #taken: number

  constructor(bytes: Buffer, budget: BodyBudget, taken: number) {
    this.#bytes = bytes
    this.#budget = budget
    this.#taken = taken
  }

  get bytes(): Buffer {
    assert(this.#bytes !== undefined, 'a body was read after it was let go')
    return this.#bytes
  }

  get kept(): Buffer | undefined {
    return this.#bytes
  }

  lend(): void {
    if (this.#bytes === undefined) return
    if (this.#bytes.length > lentBytesMax) this[Symbol.dispose]()
    else this.#budget.lend(this)
  }

  [Symbol.dispose](): void {
    this.#bytes = undefined
    this.#budget.takeBack(this)
    this.#budget.give(this.#taken)
    this.#taken = 0
  }
}

function decoded(request: IncomingMessage): Readable {
  const encoding = (request.headers['content-encoding'] ?? '').trim().toLowerCase()
  switch (encoding) {
    case '':
    case 'identity':
      return request
    case 'gzip':
      return request.pipe(createGunzip())
    case 'br':
      return request.pipe(createBrotliDecompress())
    case 'zstd':
      return request.pipe(createZstdDecompress())
    default:
      throw new Fault('encoding_unsupported')
  }
}

const mebibyte = 1024 * 1024

/** So many chunks of a small body are kept as they came. */
const chunksMax = 64

/** What a body of unknown length grows by. Its memory is reserved, not taken, until then. */
const growBytes = 4 * mebibyte

/** Puts chunks where they will stay: no large body is copied twice, because that would stall the streams. */
class Collector {
  readonly #bytesMax: number
  readonly #budget: BodyBudget
  #whole: Buffer | undefined
  #chunks: Buffer[] = []
  #growing: SharedArrayBuffer | undefined
  #taken = 0
  #length = 0

  constructor(request: IncomingMessage, isEncoded: boolean, { settings, budget }: { settings: BodySettings; budget: BodyBudget }) {
    this.#bytesMax = settings.bodyBytesMax
    this.#budget = budget
    const stated = isEncoded ? Number.NaN : statedBytes(request)
    if (!(stated > 0)) return
    if (stated > settings.bodyBytesMax) throw tooLarge(settings.bodyBytesMax)
    this.#take(stated)
    this.#whole = allocateBody(stated)
  }

  add(chunk: Buffer): void {
    if (this.#length + chunk.length > this.#bytesMax) throw tooLarge(this.#bytesMax)
    if (this.#whole !== undefined) chunk.copy(this.#whole, this.#length)
    else this.#keep(chunk)
    this.#length += chunk.length
  }

  finish(): Body {
    const bytes = this.#whole ?? this.#joined()
    this.#whole = undefined
    this.#chunks = []
    this.#growing = undefined
    const taken = this.#taken
    this.#taken = 0
    return new KeptBody(bytes, this.#budget, taken)
  }

  giveUp(): void {
    this.#budget.give(this.#taken)
    this.#taken = 0
  }

  #take(bytes: number): void {
    this.#budget.take(bytes)
    this.#taken += bytes
  }

  #keep(chunk: Buffer): void {
    this.#take(chunk.length)
    if (this.#growing === undefined && this.#length + chunk.length <= readAtOnceBytesMax) {
      this.#chunks.push(chunk)
      // A buffer has its own weight: a body that comes byte by byte would weigh hundreds of times what it has.
      if (this.#chunks.length > chunksMax) this.#chunks = [Buffer.concat(this.#chunks)]
      return
    }
    if (this.#growing === undefined) {
      const start = Math.min(this.#bytesMax, growBytes)
      this.#growing = new SharedArrayBuffer(start, { maxByteLength: this.#bytesMax })
      Buffer.concat(this.#chunks).copy(Buffer.from(this.#growing))
      this.#chunks = []
    }
    const needed = this.#length + chunk.length
    if (needed > this.#growing.byteLength) this.#growing.grow(Math.min(this.#bytesMax, needed + growBytes))
    chunk.copy(Buffer.from(this.#growing), this.#length)
  }

  #joined(): Buffer {
    if (this.#growing !== undefined) return Buffer.from(this.#growing, 0, this.#length)
    return joined(this.#chunks, this.#length)
  }
}

/** NaN when nothing is stated: it comes in chunks. */
function statedBytes(request: IncomingMessage): number {
  return Number(request.headers['content-length'] ?? Number.NaN)
}

/**
 * Most bodies came with their headers, in one piece, which is used as it is: there is nothing to wait for, and nobody to be patient with.
 * It is not asked whether Node calls the request complete, because Node does so only after the first turn of whoever took it.
 */
function readArrived(request: IncomingMessage, bytesMax: number): Buffer | undefined {
  const stated = statedBytes(request)
  const isHere = stated > 0 && stated === request.readableLength && !request.destroyed
  if (!isHere || stated > bytesMax || stated > readAtOnceBytesMax) return undefined
  const bytes: Buffer = request.read()
  // Only the end is to come. Unless it is read Node keeps the request, and the key in its headers, while the connection is idle.
  if (!request.complete) request.resume()
  // Several small pieces were joined in a pool, all of which they would keep.
  return bytes.buffer.byteLength === bytes.length ? bytes : exactly(bytes)
}

function readAll(request: IncomingMessage, source: Readable, collector: Collector, { settings, clock, closing }: BodyParts): Promise<void> {
  return new Promise((resolve, reject) => {
    const startedMs = clock.elapsedMs()
    let wireBytes = 0
    // What comes over the wire counts, not what it unpacks to: the timers are for slow senders.
    const onWire = (chunk: Buffer) => {
      wireBytes += chunk.length
      attempt(() => {
        const elapsedMs = clock.elapsedMs() - startedMs
        const isSlow = elapsedMs > settings.bodyIdleTimeoutMs && (wireBytes * 1000) / elapsedMs < settings.bodyRateMin
        if (isSlow) throw new Error('slower than bodyRateMin')
        idle.restart()
      })
    }
    const idle = clock.after(settings.bodyIdleTimeoutMs, () => fail(new Error('idle for bodyIdleTimeoutMs')))
    const over = () => {
      idle[Symbol.dispose]()
      closing.removeEventListener('abort', stopped)
      request.off('data', onWire)
      request.off('error', fail).off('aborted', left)
      source.off('data', onData).off('end', onEnd).off('error', fail)
      // Errors that come after the end of our interest must not end the program.
      source.on('error', ignore)
      request.on('error', ignore)
    }
    const fail = (error?: unknown) => {
      over()
      if (source !== request) source.destroy()
      reject(error instanceof Fault ? error : new Fault('body_unreadable', { cause: error }))
    }
    const left = () => fail(new Fault('client_left'))
    const stopped = () => fail(closing.reason)
    /** Nobody would catch what is thrown out of an event. */
    const attempt = (work: () => void) => {
      try {
        work()
      } catch (error) {
        fail(error)
      }
    }
    const onData = (chunk: Buffer) => attempt(() => collector.add(chunk))
    const onEnd = () => {
      over()
      resolve()
    }
    request.on('data', onWire).once('error', fail).once('aborted', left)
    source.on('data', onData).once('end', onEnd)
    if (source !== request) source.once('error', fail)
    closing.addEventListener('abort', stopped)
    if (request.destroyed) left() // Gone while we asked whose key it is: no event will say so again.
  })
}

function ignore(): void {
  // Nobody reads this body any more.
}

export function tooLarge(bytesMax: number): Fault {
  const limit = bytesMax < mebibyte ? `${bytesMax}B` : `${Math.floor(bytesMax / mebibyte)}MB`
  return new Fault('body_too_large', { values: { limit } })
}
