import type { Redis, RedisOptions } from 'ioredis'
import type { Clock, Timer } from '../../lib/clock.ts'
import { type ScriptName, scripts } from './scripts.ts'

/** Redis did not answer in time, or not at all, or not what it should: nobody knows what became of the operation. */
export class RedisAway extends Error {
  override readonly name = 'RedisAway'
}

/** The connections to one Redis: one for operations, one for hearing. */
export interface Wire {
  /** Runs one atomic operation. Rejects with `RedisAway`. */
  run(script: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>
  /** One command of Redis's own. Rejects with `RedisAway`. */
  command(name: string, ...args: readonly (string | number)[]): Promise<unknown>
  /** From now on, hears what is published there. */
  hear(channel: string, listener: (message: string) => void): void
  /** Resolves when Redis answers for the first time. Rejects with a sentence for the operator when it does not. */
  connect(): Promise<void>
  close(): void
}

export interface WireOptions {
  readonly url: string
  readonly timeoutMs: number
  readonly clock: Clock
  /** An operation has failed. Called before whoever waits for it hears of it. */
  readonly onAway: (why: Error) => void
  /** There is a connection again. */
  readonly onReady: () => void
  /** Notifications may have been lost until now. */
  readonly onDeaf: () => void
}

/** How long the first connection may take. */
const connectTimeoutMs = 5_000
const reconnectMaxMs = 1_000

/** Loads the driver: whoever has no Redis never does. */
export async function openWire(options: WireOptions): Promise<Wire> {
  const { Redis } = await import('ioredis')
  const settings: RedisOptions = {
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    // What cannot be sent now fails now: whoever waits for it goes on alone, and repeating it would be to do it twice.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: times => Math.min(50 * times, reconnectMaxMs),
  }
  return new RedisWire(new Redis(options.url, settings), new Redis(options.url, settings), options)
}

class RedisWire implements Wire {
  readonly #redis: Redis
  readonly #ears: Redis
  readonly #options: WireOptions
  readonly #listeners = new Map<string, (message: string) => void>()
  /** The driver tells it here only; what it rejects with says no more than that the connection is closed. */
  #lastTrouble: Error | undefined
  #isClosed = false

  constructor(redis: Redis, ears: Redis, options: WireOptions) {
    this.#redis = redis
    this.#ears = ears
    this.#options = options
    redis.on('close', () => this.#away(new RedisAway('the connection to Redis was closed')))
    redis.on('ready', () => {
      this.#load()
      options.onReady()
    })
    ears.on('ready', () => void this.#subscribe())
    ears.on('message', (channel: string, message: string) => this.#listeners.get(channel)?.(message))
    // Why a connection failed is told by the operation that failed with it; without a listener it would end the program.
    for (const one of [redis, ears]) one.on('error', (error: Error) => (this.#lastTrouble = error))
  }

  async connect(): Promise<void> {
    try {
      await Promise.all([this.#redis.connect(), this.#ears.connect()])
      await this.#redis.ping()
    } catch (error) {
      this.close()
      const { host, port } = this.#redis.options
      const why = (this.#lastTrouble ?? (error as Error)).message
      throw new Error(`Redis at ${host}:${port} does not answer (${why}); start it, or correct HEADGATE_REDIS_URL.`, { cause: error })
    }
  }

  run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const { sha, text } = scripts[name]
    return this.#within(async () => {
      try {
        return await this.#redis.evalsha(sha, keys.length, ...keys, ...args)
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
        return this.#redis.eval(text, keys.length, ...keys, ...args)
      }
    })
  }

  command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#within(() => this.#redis.call(name, [...args]))
  }

  hear(channel: string, listener: (message: string) => void): void {
    this.#listeners.set(channel, listener)
    if (this.#ears.status === 'ready') void this.#subscribe()
  }

  close(): void {
    this.#isClosed = true
    this.#redis.disconnect()
    this.#ears.disconnect()
  }

  /** Before anything else on a new connection: a script that has to be sent anew is overtaken by those that come after it. */
  #load(): void {
    for (const { text } of Object.values(scripts)) this.#redis.script('LOAD', text).catch(() => {}) // Then it is sent when it is used.
  }

  async #subscribe(): Promise<void> {
    try {
      if (this.#listeners.size > 0) await this.#ears.subscribe(...this.#listeners.keys())
      this.#options.onDeaf()
    } catch {
      // The connection broke again: the next one subscribes.
    }
  }

  #within(work: () => Promise<unknown>): Promise<unknown> {
    const { clock, timeoutMs } = this.#options
    return new Promise((resolve, reject) => {
      let timer: Timer
      const fail = (why: RedisAway) => {
        timer[Symbol.dispose]()
        this.#away(why)
        reject(why)
      }
      const late = () => fail(new RedisAway(`Redis has not answered for ${timeoutMs} ms`))
      // If it was us who stood still, the answer is there already, and is read before the second timer.
      timer = clock.after(timeoutMs, () => {
        timer = clock.after(1, late)
      })
      work().then(
        answer => {
          timer[Symbol.dispose]()
          resolve(answer)
        },
        error => fail(new RedisAway('Redis refused an operation', { cause: error })),
      )
    })
  }

  #away(why: RedisAway): void {
    if (!this.#isClosed) this.#options.onAway(why)
  }
}
