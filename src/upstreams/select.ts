import type { Candidate } from './account.ts'

/** Chooses among accounts that may be given the call. Pure: the same candidates and the same chance give the same choice. */
export type Select = (candidates: readonly Candidate[], chance: () => number) => Candidate | undefined

/** From this many on, the better of two drawn by lot is nearly as good as the best, and costs no scan. */
const manyCandidates = 32

/** The least loaded of the lowest priority number; of equals, the longest unused. */
export const leastLoaded: Select = (candidates, chance) => {
  const first = ofLowestPriority(candidates)
  return leastOf(drawn(first.length, chance).map(place => first[place]!))
}

/** By how many there are: the places of all of them. */
const allPlaces = Array.from({ length: manyCandidates }, (_, count) => Array.from({ length: count }, (_, place) => place))

/** Which of so many accounts of one priority are compared: all of few, two of many. */
export function drawn(count: number, chance: () => number): readonly number[] {
  if (count < manyCandidates) return allPlaces[count]!
  return [Math.floor(chance() * count), Math.floor(chance() * count)]
}

/** The least loaded of all of these; of equals, the longest unused, and of these the first. */
export function leastOf(candidates: readonly Candidate[]): Candidate | undefined {
  return candidates.reduce<Candidate | undefined>((best, next) => (best && !isBetter(next, best) ? best : next), undefined)
}

/** Of accounts that are all failing, the one that failed least lately: somebody must be tried. */
export const leastBad: Select = candidates =>
  ofLowestPriority(candidates).reduce<Candidate | undefined>(
    (best, next) => (best === undefined || next.condition.successRate > best.condition.successRate ? next : best),
    undefined,
  )

/** A session leaves its account for one that is so many times as fast to the first token, when its own is noticeably slow. */
const slowRatio = 3
const slowMs = 1000

/** Whether others could be so much faster that a session leaves it for them. */
export function isSlow({ condition }: Candidate): boolean {
  return condition.firstEventMs !== null && condition.firstEventMs >= slowMs
}

/** Those of the others that an account is slow beside. Of whom nothing was measured nobody knows that they are faster. */
export function muchFaster(slow: Candidate, others: readonly Candidate[]): readonly Candidate[] {
  if (!isSlow(slow)) return []
  const mine = slow.condition.firstEventMs!
  return others.filter(({ condition }) => condition.firstEventMs !== null && mine > condition.firstEventMs * slowRatio)
}

function ofLowestPriority(candidates: readonly Candidate[]): readonly Candidate[] {
  const lowest = candidates.reduce((least, { account }) => Math.min(least, account.priority), Number.POSITIVE_INFINITY)
  const first = candidates.filter(({ account }) => account.priority === lowest)
  return first.length === candidates.length ? candidates : first
}

function isBetter(one: Candidate, other: Candidate): boolean {
  const difference = loadOf(one) - loadOf(other)
  return difference < 0 || (difference === 0 && one.condition.lastUsedMs < other.condition.lastUsedMs)
}

/** What an account without a limit counts as: its load is 0, and the corrections need something to multiply. */
const loadFloor = 0.01

/**
 * (in flight + 1) / (concurrency × weight), corrected by how fast and how reliably the account began to answer lately.
 * Slowness counts in powers of two: finer steps would be noise, and would never leave a tie to the longest unused.
 */
function loadOf({ account, condition }: Candidate): number {
  const load = account.concurrency > 0 ? (condition.taken + 1) / (account.concurrency * account.weight) : 0
  // Its record keeps it from most calls already. Held against the probe too, that would never be sent while others are idle.
  if (condition.circuitSinceMs !== null || condition.outSinceMs !== null) return load + loadFloor
  const slowness = condition.firstEventMs === null ? 1 : 2 ** Math.max(0, Math.round(Math.log2(condition.firstEventMs / slowMs)))
  const failing = condition.successRate < 0.99 ? 1 / Math.max(0.05, condition.successRate) ** 2 : 1
  return (load + loadFloor) * slowness * failing
}
