import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createZstdDecompress } from 'node:zlib'
import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { allocateBody } from '../protocols/read-in-worker.ts'

export interface BodySettings {
  /** After decoding. */
  readonly bodyBytesMax: number
  readonly bodyIdleTimeoutMs: number
  /** Bytes per second, on average. */
  readonly bodyRateMin: number
}

/** The bytes of a body, and their share of what all bodies together may occupy, given back on disposal. */
export interface Body extends Disposable {
  readonly bytes: Buffer
}

/** What all buffered bodies together may occupy. */
export class BodyBudget {
  readonly #bytesMax: number
  #taken = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get takenBytes(): number {
    return this.#taken
  }

  take(bytes: number): void {
    if (this.#taken + bytes > this.#bytesMax) throw new Fault('bodies_full')
    this.#taken += bytes
  }

  give(bytes: number): void {
    this.#taken -= bytes
  }
}

/** Reads a body to its end, decoded. Fails with the faults of SPEC 1.2 that concern bytes. */
export async function readBody(
  request: IncomingMessage,
  parts: { settings: BodySettings; budget: BodyBudget; clock: Clock },
): Promise<Body> {
  const source = decoded(request)
  const collector = new Collector(request, source !== request, parts)
  try {
    await readAll(request, source, collector, parts)
    return collector.finish()
  } catch (error) {
    collector.giveUp()
    throw error
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

/** Puts chunks where they will stay: a body whose length is known is never copied twice. */
class Collector {
  readonly #bytesMax: number
  readonly #budget: BodyBudget
  readonly #whole: Buffer | undefined
  readonly #chunks: Buffer[] = []
  #taken = 0
  #length = 0

  constructor(request: IncomingMessage, isEncoded: boolean, { settings, budget }: { settings: BodySettings; budget: BodyBudget }) {
    this.#bytesMax = settings.bodyBytesMax
    this.#budget = budget
    const stated = isEncoded ? Number.NaN : Number(request.headers['content-length'] ?? Number.NaN)
    if (!(stated > 0)) return
    if (stated > settings.bodyBytesMax) throw tooLarge(settings.bodyBytesMax)
    this.#take(stated)
    this.#whole = allocateBody(stated)
  }

  add(chunk: Buffer): void {
    if (this.#length + chunk.length > this.#bytesMax) throw tooLarge(this.#bytesMax)
    if (this.#whole === undefined) {
      this.#take(chunk.length)
      this.#chunks.push(chunk)
    } else {
      chunk.copy(this.#whole, this.#length)
    }
    this.#length += chunk.length
  }

  finish(): Body {
    const bytes = this.#whole ?? this.#joined()
    let isHeld = true
    return {
      bytes,
      [Symbol.dispose]: () => {
        if (isHeld) this.giveUp()
        isHeld = false
      },
    }
  }

  giveUp(): void {
    this.#budget.give(this.#taken)
    this.#taken = 0
  }

  #take(bytes: number): void {
    this.#budget.take(bytes)
    this.#taken += bytes
  }

  #joined(): Buffer {
    if (this.#chunks.length === 1) return this.#chunks[0]!
    const bytes = allocateBody(this.#length)
    let at = 0
    for (const chunk of this.#chunks) at += chunk.copy(bytes, at)
    return bytes
  }
}

function readAll(
  request: IncomingMessage,
  source: Readable,
  collector: Collector,
  { settings, clock }: { settings: BodySettings; clock: Clock },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const startedMs = clock.elapsedMs()
    let wireBytes = 0
    // What comes over the wire counts, not what it unpacks to: the timers are for slow senders.
    const onWire = (chunk: Buffer) => {
      wireBytes += chunk.length
      const seconds = (clock.elapsedMs() - startedMs) / 1000
      if (seconds * 1000 > settings.bodyIdleTimeoutMs && wireBytes / seconds < settings.bodyRateMin)
        fail(new Error('slower than bodyRateMin'))
      else idle.restart()
    }
    const idle = clock.after(settings.bodyIdleTimeoutMs, () => fail(new Error('idle for bodyIdleTimeoutMs')))
    const over = () => {
      idle[Symbol.dispose]()
      request.off('data', onWire)
      request.off('error', fail).off('aborted', fail)
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
    const onData = (chunk: Buffer) => {
      try {
        collector.add(chunk)
      } catch (error) {
        fail(error)
      }
    }
    const onEnd = () => {
      over()
      resolve()
    }
    request.on('data', onWire).once('error', fail).once('aborted', fail)
    source.on('data', onData).once('end', onEnd)
    if (source !== request) source.once('error', fail)
  })
}

function ignore(): void {
  // Nobody reads this body any more.
}

const mebibyte = 1024 * 1024

function tooLarge(bytesMax: number): Fault {
  const limit = bytesMax < mebibyte ? `${bytesMax}B` : `${Math.floor(bytesMax / mebibyte)}MB`
  return new Fault('body_too_large', { values: { limit } })
}
