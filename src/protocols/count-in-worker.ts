import { Worker } from 'node:worker_threads'
import type { Clock, Timer } from '../lib/clock.ts'

/** Counts tokens with the vocabulary that OpenAI bills by, in a worker thread: it takes milliseconds, and up to a second. */
export interface TokenCounter {
  /** Never rejects and never takes longer than its bound: undefined when the worker is broken, too slow or has too much to do. */
  count(wanted: Countable): Promise<TokenCounts | undefined>
  /** Ends the worker. What is being counted resolves to undefined. Safe twice. */
  close(): Promise<void>
}

export interface Countable {
  /** A body that was read before; undefined when it is gone. */
  readonly body: Buffer | undefined
  /** Input that does not stand in the body. */
  readonly inputTexts: readonly string[]
  readonly outputTexts: readonly string[]
}

export interface TokenCounts {
  /** Undefined without a body. */
  readonly inputTokens: number | undefined
  readonly outputTokens: number
}

export interface CountRequest {
  readonly number: number
  readonly body: Uint8Array | undefined
  readonly inputTexts: readonly string[]
  readonly outputTexts: readonly string[]
  /** How long each of the two may be counted before the rest is taken to be alike. Milliseconds. */
  readonly withinMs: number
}

export interface CountReply extends TokenCounts {
  readonly number: number
}

export interface TokenCounterOptions {
  readonly clock: Clock
  /** How long a count may take, waiting for others and starting the worker included. */
  readonly estimateWithinMs: number
  /** Starts a thread on a module. Tests start others, that break or are slow. */
  readonly startWorker?: (module: URL) => Worker
}

/** Whoever would wait behind so many is told at once that there is no count. */
export const countsWaitingMax = 64
/** Of the time that a count may take: one for the input, one for the output, and what is left for the way there and back. */
const shareOfTime = 1 / 3

export function openTokenCounter(options: TokenCounterOptions): TokenCounter {
  return new CounterInWorker(options)
}

interface Waiting {
  readonly request: CountRequest
  readonly resolve: (counts: TokenCounts | undefined) => void
  readonly timer: Timer
}

/**
 * The worker is started by the first count, because most gateways never need one, and anew by the next one after it died. It is
 * given one count at a time, so that what nobody waits for any more is never begun.
 */
class CounterInWorker implements TokenCounter {
  readonly #options: TokenCounterOptions
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #isBusy = false
  #isClosed = false
  #next = 0

  constructor(options: TokenCounterOptions) {
    this.#options = options
  }

  count({ body, inputTexts, outputTexts }: Countable): Promise<TokenCounts | undefined> {
    const { clock, estimateWithinMs } = this.#options
    if (this.#isClosed || this.#waiting.size >= countsWaitingMax) return Promise.resolve(undefined)
    const number = this.#next++
    const request: CountRequest = { number, body, inputTexts, outputTexts, withinMs: estimateWithinMs * shareOfTime }
    return new Promise(resolve => {
      const timer = clock.after(estimateWithinMs, () => this.#answer(number, undefined))
      this.#waiting.set(number, { request, resolve, timer })
      this.#giveNext()
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#worker?.terminate()
    this.#lost()
  }

  #giveNext(): void {
    const [first] = this.#waiting.values()
    if (this.#isBusy || first === undefined) return
    this.#isBusy = true
    this.#worker ??= this.#start()
    this.#worker.postMessage(first.request)
  }

  #start(): Worker {
    const { startWorker = module => new Worker(module) } = this.#options
    const born = startWorker(workerFile)
    born.on('message', ({ number, ...counts }: CountReply) => {
      this.#isBusy = false
      this.#answer(number, counts)
      this.#giveNext()
    })
    // Why it died helps nobody: whoever waits is told that there is no count, and the next one starts another.
    born.on('error', () => {})
    born.on('exit', () => this.#worker === born && this.#lost())
    // It must not keep the program alive.
    born.unref()
    return born
  }

  #answer(number: number, counts: TokenCounts | undefined): void {
    const found = this.#waiting.get(number)
    if (found === undefined) return
    this.#waiting.delete(number)
    found.timer[Symbol.dispose]()
    found.resolve(counts)
  }

  #lost(): void {
    this.#worker = undefined
    this.#isBusy = false
    for (const number of [...this.#waiting.keys()]) this.#answer(number, undefined)
  }
}

/** This file runs as TypeScript while developing and as JavaScript when published, and so does its worker. */
const workerFile = new URL(`./token-worker${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)
