import type { Clock } from '../lib/clock.ts'
import type { Coordinator, Meter } from './coordinator.ts'

/** What is left in the minute; below zero when more was used than was asked for. */
interface Bucket {
  level: number
  atMs: number
}

const bucketsMax = 100_000
const minuteMs = 60_000

/** Requests and tokens per minute: a bucket holds a minute's worth and refills evenly. */
export function minuteMeters(clock: Clock): Pick<Coordinator, 'spend' | 'correct'> {
  const buckets = new Map<string, Bucket>()

  function refilled({ name, perMinute }: Meter): Bucket {
    const nowMs = clock.nowMs()
    let bucket = buckets.get(name)
    if (bucket === undefined) {
      if (buckets.size >= bucketsMax) forgetOldest()
      bucket = { level: perMinute, atMs: nowMs }
      buckets.set(name, bucket)
    }
    bucket.level = Math.min(perMinute, bucket.level + (Math.max(0, nowMs - bucket.atMs) * perMinute) / minuteMs)
    bucket.atMs = nowMs
    return bucket
  }

  /** A bucket not touched for a minute is full again, and a full one need not be remembered. */
  function forgetOldest(): void {
    const before = clock.nowMs() - minuteMs
    for (const [name, { atMs, level }] of buckets) if (atMs <= before && level >= 0) buckets.delete(name)
    const first = buckets.keys().next()
    if (buckets.size >= bucketsMax && !first.done) buckets.delete(first.value)
  }

  return {
    async spend(meters) {
      let full: { name: string; retryAfterMs: number } | undefined
      for (const meter of meters) {
        const { level } = refilled(meter)
        // One call may be larger than a whole minute's worth: it needs a full bucket, and leaves a debt.
        const missing = Math.min(meter.amount, meter.perMinute) - level
        if (missing <= 0) continue
        const retryAfterMs = Math.ceil((missing * minuteMs) / meter.perMinute)
        if (full === undefined || retryAfterMs > full.retryAfterMs) full = { name: meter.name, retryAfterMs }
      }
      if (full) return { granted: false, ...full }
      for (const meter of meters) refilled(meter).level -= meter.amount
      return { granted: true }
    },

    async correct(meters) {
      for (const meter of meters) {
        const bucket = refilled(meter)
        bucket.level = Math.min(meter.perMinute, bucket.level - meter.amount)
      }
    },
  }
}
