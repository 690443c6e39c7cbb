import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, onCluster, openCluster, type Person } from './cluster.ts'
import { type Heard, offer } from './load.ts'
import { type Reckoning, reckon } from './reckon.ts'

/**
 * T20: what clients see while a server or a gateway is away, slow or wrong about the time, and what is left of it afterwards. The table that
 * is printed stands in docs/outages.md.
 */

const isFull = Boolean(process.env['HEADGATE_TEST_FULL'])
/** Seconds. */
const before = 1
const outage = isFull ? 30 : 3
const still = isFull ? 60 : 7
const after = isFull ? 10 : 3
const leaseMs = isFull ? 30_000 : 6_000
const settings = { leaseMs, leaseRenewMs: 1_000 }
const offered = { perSecond: 40, streamEvery: 6 }
/** Streams of a second. */
const answers = { deltas: 20, betweenEventsMs: 50 }
const promisedSeconds = 5
/** A machine with other work may be so much later. */
const busySeconds = 5
const clockOffMs = 60_000

interface Outage {
  readonly what: string
  readonly lasts: number
  /** Before any call, such as a gateway's start with another clock. */
  readonly prepare?: (cluster: Cluster) => Promise<void>
  readonly begin: (cluster: Cluster) => Promise<void> | void
  readonly end: (cluster: Cluster) => Promise<void> | void
  /** Outcomes that the stated behaviour allows, besides `served`, to be the answer to any call. */
  readonly allowed: readonly string[]
  /** Of the calls begun meanwhile at least so many must be served. Default: any number. */
  readonly servedShareMin?: number
  /** A gateway is taken for dead, as it should be. */
  readonly kills?: boolean
}

const away = '503 billing_unavailable'
/** All the while, and not only meanwhile. */
const nothing = () => {}

/** Nobody runs a call there. */
async function startAgain({ nodes }: Cluster, clockOffMs: number): Promise<void> {
  await nodes[1]!.kill()
  await nodes[1]!.start({ clockOffMs })
}

/** What only a part of a network can do; in the full run. */
const partitions: readonly Outage[] = [
  {
    what: 'a gateway is cut off from PostgreSQL',
    lasts: outage,
    begin: ({ nodes }) => nodes[1]!.postgres.cut(),
    end: ({ nodes }) => nodes[1]!.postgres.mend(),
    allowed: [away],
    servedShareMin: 0.75, // It refuses slowly, and so gets few. Were it quick it would get most.
    kills: true,
  },
  {
    what: 'a gateway is cut off from Redis',
    lasts: outage,
    begin: ({ nodes }) => nodes[1]!.redis.cut(),
    end: ({ nodes }) => nodes[1]!.redis.mend(),
    allowed: [],
  },
]

const outages: readonly Outage[] = [
  { what: 'nothing happens', lasts: 1, begin: nothing, end: nothing, allowed: [] },
  {
    what: 'Redis is stopped and started',
    lasts: outage,
    begin: ({ redis }) => redis.kill(),
    end: ({ redis }) => redis.start(),
    allowed: [],
  },
  {
    what: 'Redis is slow by 2 s',
    lasts: outage,
    begin: cluster => cluster.slow('redis', 2_000),
    end: cluster => cluster.slow('redis', 0),
    allowed: [],
  },
  {
    what: 'PostgreSQL is stopped and started',
    lasts: outage,
    begin: ({ postgres }) => postgres.stop(),
    end: ({ postgres }) => postgres.start(),
    allowed: [away],
  },
  {
    what: 'PostgreSQL is away for half a second',
    lasts: 0.5,
    begin: ({ nodes }) => nodes.forEach(({ postgres }) => void postgres.cut()),
    end: ({ nodes }) => nodes.forEach(({ postgres }) => void postgres.mend()),
    allowed: [away], // Where the machine is so busy that it takes two seconds.
    servedShareMin: 0.75,
  },
  {
    what: 'PostgreSQL is slow by 2 s',
    lasts: outage,
    begin: cluster => cluster.slow('postgres', 2_000),
    end: cluster => cluster.slow('postgres', 0),
    allowed: [away],
  },
  {
    what: 'a gateway is killed and started',
    lasts: outage,
    begin: ({ nodes }) => nodes[1]!.kill(),
    end: ({ nodes }) => nodes[1]!.start(),
    allowed: ['broken'],
    kills: true,
  },
  {
    what: 'a gateway stands still and goes on',
    lasts: still,
    begin: ({ nodes }) => nodes[1]!.sigstop(),
    end: ({ nodes }) => nodes[1]!.sigcont(),
    allowed: [away], // A call that was just asking the books, and has waited for too long when it looks at the clock.
    kills: true,
  },
  {
    what: 'the clock of a gateway is 60 s ahead',
    lasts: outage,
    prepare: cluster => startAgain(cluster, clockOffMs),
    begin: nothing,
    end: nothing,
    allowed: [],
  },
  {
    what: 'the clock of a gateway is 60 s behind',
    lasts: outage,
    prepare: cluster => startAgain(cluster, -clockOffMs),
    begin: nothing,
    end: nothing,
    allowed: [],
  },
]

onCluster('an outage', () => {
  let cluster: Cluster
  let people: Person[]
  const table: object[] = []
  beforeAll(async () => {
    cluster = await openCluster({ settings })
    cluster.sim.script({}, answers)
    people = []
    for (let person = 0; person < 6; person += 1) people.push(await cluster.addPerson({ concurrency: 60 }))
  })
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]()
    console.table(table)
  })

  test.for(isFull ? [...outages, ...partitions] : outages)(
    '$what',
    { timeout: 240_000 },
    async ({ what, lasts, prepare, begin, end, allowed, servedShareMin = 0, kills = false }) => {
      await prepare?.(cluster)
      const { takenForDead } = await reckon(cluster, [], 0)
      await using load = offer(cluster.url, people, offered)
      await load.during(before)
      const begunMs = performance.now()
      await begin(cluster)
      await load.during(lasts)
      await end(cluster)
      const overMs = performance.now()
      await load.during(end === nothing ? 1 : after)
      await load.stop()
      const books = await reckon(cluster, load.heard, leaseMs + 10_000)
      const recovered = secondsToRecover(load.heard, overMs)
      const meanwhile = load.heard.filter(({ startedMs }) => startedMs > begunMs && startedMs <= overMs)
      const dead = books.takenForDead - takenForDead
      table.push({ what, ...figures({ heard: load.heard, meanwhile, recovered, books }), 'taken for dead': dead })

      const seen = Object.keys(countsOf(load.heard))
      expect(seen.filter(outcome => outcome !== 'served' && !allowed.includes(outcome))).toEqual([])
      expect(books).toMatchObject({ lost: 0, doubled: 0, walletsBelowZero: 0, holdsOpen: 0, slotsTaken: 0, differences: 0 })
      expect((countsOf(meanwhile)['served'] ?? 0) / meanwhile.length).toBeGreaterThanOrEqual(servedShareMin)
      if (!kills) expect(dead).toBe(0)
      expect(recovered).toBeLessThan(promisedSeconds + busySeconds)
    },
  )
})

/** From the end of the outage until a call was served that had begun after it, and after which none failed. */
function secondsToRecover(heard: readonly Heard[], overMs: number): number {
  const later = heard.filter(({ startedMs }) => startedMs > overMs)
  const served = later.filter(({ outcome }) => outcome === 'served').map(({ endedMs }) => endedMs)
  const failed = later.filter(({ outcome }) => outcome !== 'served').map(({ endedMs }) => endedMs)
  return (Math.max(Math.min(...served), ...failed) - overMs) / 1_000
}

interface Told {
  readonly heard: readonly Heard[]
  /** Those begun during the outage. */
  readonly meanwhile: readonly Heard[]
  readonly recovered: number
  readonly books: Reckoning
}

function figures({ heard, meanwhile, recovered, books }: Told): object {
  const { served = 0, ...others } = countsOf(heard)
  const slowest = Math.max(0, ...heard.filter(({ outcome }) => outcome === 'served').map(({ startedMs, endedMs }) => endedMs - startedMs))
  const denied = heard.filter(({ outcome }) => /^40[13]/.test(outcome)).length
  return {
    calls: heard.length,
    served,
    'of these begun meanwhile': `${countsOf(meanwhile)['served'] ?? 0} of ${meanwhile.length}`,
    others: Object.entries(others)
      .map(([outcome, count]) => `${count} ${outcome}`)
      .join(', '),
    '401/403': denied,
    lost: books.lost,
    doubled: books.doubled,
    'below 0': books.walletsBelowZero,
    'holds, slots left': `${books.holdsOpen}, ${books.slotsTaken}`,
    'slowest s': seconds(slowest / 1_000),
    'recovered s': seconds(recovered),
    'quiet s': seconds(books.quietAfter),
  }
}

function seconds(value: number): string {
  return value.toFixed(1)
}

function countsOf(heard: readonly Heard[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { outcome } of heard) counts[outcome] = (counts[outcome] ?? 0) + 1
  return counts
}
