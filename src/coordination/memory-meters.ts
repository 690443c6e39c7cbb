import type { Clock } from '../lib/clock.ts'
import type { Meter, OverRate } from './coordinator.ts'

/** What is left in the minute; below zero when more was used than was asked for. */
interface Bucket {
  level: number
  atMs: number
}

const bucketsMax = 100_000
const minuteMs = 60_000

/** Requests and tokens per minute: a bucket holds a minute's worth and refills evenly. */
export class MinuteMeters {
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes from every meter, or from none. */
  spend(meters: readonly Meter[]): OverRate | undefined {
    if (meters.length === 0) return undefined
    const nowMs = this.#clock.nowMs()
    let full: OverRate | undefined
    for (const meter of meters) {
      const { level } = this.#refilled(meter, nowMs)
      // One call may be larger than a whole minute's worth: it needs a full bucket, and leaves a debt.
      const missing = Math.min(meter.amount, meter.perMinute) - level
      if (missing <= 0) continue
      const retryAfterMs = Math.ceil((missing * minuteMs) / meter.perMinute)
      if (full === undefined || retryAfterMs > full.retryAfterMs) full = { name: meter.name, retryAfterMs }
    }
    if (full === undefined) for (const meter of meters) this.#refilled(meter, nowMs).level -= meter.amount
    return full
  }

  /** Without a limit; gives back with a negative amount. */
  correct(meters: readonly Meter[]): void {
    const nowMs = this.#clock.nowMs()
    for (const meter of meters) {
      const bucket = this.#refilled(meter, nowMs)
      bucket.level = Math.min(meter.perMinute, bucket.level - meter.amount)
    }
  }

  #refilled({ name, perMinute }: Meter, nowMs: number): Bucket {
    let bucket = this.#buckets.get(name)
    if (bucket === undefined) {
      if (this.#buckets.size >= bucketsMax) this.#forgetOldest()
      bucket = { level: perMinute, atMs: nowMs }
      this.#buckets.set(name, bucket)
    }
    bucket.level = Math.min(perMinute, bucket.level + (Math.max(0, nowMs - bucket.atMs) * perMinute) / minuteMs)
    bucket.atMs = nowMs
    return bucket
  }

  /** A bucket not touched for a minute is full again, and a full one need not be remembered. */
  #forgetOldest(): void {
    const before = this.#clock.nowMs() - minuteMs
    for (const [name, { atMs, level }] of this.#buckets) if (atMs <= before && level >= 0) this.#buckets.delete(name)
    const first = this.#buckets.keys().next()
    if (this.#buckets.size >= bucketsMax && !first.done) this.#buckets.delete(first.value)
  }
}
