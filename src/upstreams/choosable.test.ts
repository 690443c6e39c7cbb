import { expect, test } from 'vitest'
import { between, oneOf, randomFrom, seedsFrom } from '../../test/chance.ts'
import { type Condition, type Coordinator, isOverRate, type Known, type Slot } from '../coordination/coordinator.ts'
import { inMemory } from '../coordination/memory.ts'
import type { Account } from '../directory/entities.ts'
import { type Candidate, type Readiness, readinessOf } from './account.ts'
import { candidate } from './candidate.fixture.ts'
import { Choosable, type Server } from './choosable.ts'
import { drawn, leastLoaded, leastOf } from './select.ts'

const startMs = Date.parse('2026-11-22T10:00:00Z')
const models = ['sim', 'other']

/** How it was done before there was an index: by looking at every account. */
function lookedThrough(servers: readonly Server[], known: Known, nowMs: number, except: ReadonlySet<string>) {
  const all: Candidate[] = servers.map(server => ({ ...server, condition: known.of(server.account.id) }))
  const left = all.filter(({ account }) => !except.has(account.id))
  const list = (readiness: readonly Readiness[]) => left.filter(one => readiness.includes(readinessOf(one, nowMs)))
  return { list, draw: (chance: () => number) => leastLoaded(list(['free', 'probe']), chance) }
}

/** Anything that an attempt, an operator or the time may make of a condition. */
function anyChange(chance: () => number, nowMs: number): (condition: Condition) => Condition {
  const soonMs = nowMs + between(chance, -50, 300)
  const said: readonly Partial<Condition>[] = [
    { restingUntilMs: soonMs },
    { modelRests: { [oneOf(chance, models)]: soonMs } },
    { circuitSinceMs: nowMs, probeAtMs: soonMs },
    { outSinceMs: nowMs, probeAtMs: soonMs },
    { probing: chance() < 0.5 },
    { circuitSinceMs: null, outSinceMs: null, probing: false, restingUntilMs: 0 },
    { successRate: chance() },
    { firstEventMs: between(chance, 1, 9000) },
  ]
  const one = oneOf(chance, said)
  return condition => ({ ...condition, ...one })
}

/** Accounts of every kind, so many, in no order. */
function anyServers(chance: () => number, count: number): Server[] {
  return Array.from({ length: count }, (_, number) => {
    const concurrency = between(chance, 0, 3)
    const said = { concurrency, priority: between(chance, 1, 2), weight: between(chance, 1, 2), disabled: chance() < 0.05 }
    return { account: candidate(`a${number}`, said).account, model: oneOf(chance, models) }
  })
}

const all: readonly Readiness[] = ['free', 'full', 'probe', 'circuit', 'resting', 'out', 'disabled']

test.for(seedsFrom(1, 60))('whatever happens, it chooses whom a look at every account would choose, seed %s', async seed => {
  const chance = randomFrom(seed)
  let nowMs = startMs
  const lines = inMemory({ nowMs: () => nowMs, elapsedMs: () => nowMs, after: () => ({ restart() {}, [Symbol.dispose]() {} }) })
  const servers = anyServers(chance, oneOf(chance, [1, 2, 5, 31, 32, 40, 150]))
  const ids = servers.map(({ account }) => account.id)
  const choosable = new Choosable(servers, new Map())
  const slots: Slot[] = []
  for (let step = 0; step < 300; step += 1) {
    for (let more = between(chance, 0, 4); more > 0; more -= 1) {
      const { account } = oneOf(chance, servers)
      const what = chance()
      if (what < 0.4) await lines.change(account.id, anyChange(chance, nowMs))
      else if (what < 0.8) {
        const slot = await lines.take({ accountId: account.id, slots: account.concurrency })
        if (slot !== undefined && !isOverRate(slot)) slots.push(slot)
      } else await slots.splice(between(chance, 0, slots.length), 1)[0]?.[Symbol.asyncDispose]()
    }
    // Now and then a clock is put back.
    nowMs += chance() < 0.02 ? -200 : between(chance, 0, 20)
    if (chance() < 0.3) continue // Nobody looked in between.
    const except = new Set(Array.from({ length: between(chance, 0, 3) }, () => oneOf(chance, ids)))
    const found = choosable.at(lines.known(), nowMs)
    const looked = lookedThrough(servers, lines.known(), nowMs, except)
    const lot = between(chance, 1, 1_000_000)
    expect(leastOf(found.draw(randomFrom(lot), except))).toEqual(looked.draw(randomFrom(lot)))
    for (const one of all) expect([one, found.count([one], except)]).toEqual([one, looked.list([one]).length])
    const two = [oneOf(chance, all), oneOf(chance, all)]
    expect(found.list(two, except)).toEqual(looked.list(two))
  }
})

/** As many accounts as there are, of which each look is counted. */
function watched(count: number): { choosable: Choosable; lines: Coordinator; known: Known; looks: () => number } {
  const lines = inMemory({ nowMs: () => startMs, elapsedMs: () => 0, after: () => ({ restart() {}, [Symbol.dispose]() {} }) })
  const servers = Array.from({ length: count }, (_, number) => ({ account: candidate(`a${number}`).account, model: 'sim' }))
  let looks = 0
  const real = lines.known()
  const known: Known = {
    of(id) {
      looks += 1
      return real.of(id)
    },
    get changes() {
      return real.changes
    },
    changedSince: real.changedSince,
    isAll: true,
  }
  return { choosable: new Choosable(servers, new Map()), lines, known, looks: () => looks }
}

test('a call looks at those that changed and those that it compares, however many there are', async () => {
  const { choosable, lines, known, looks } = watched(10_000)
  choosable.at(known, startMs)
  expect(looks()).toBe(10_000)
  for (let call = 1; call <= 100; call += 1) {
    const [one] = choosable.at(known, startMs).draw(() => 0.5, new Set())
    await lines.take({ accountId: one!.account.id, slots: 10 })
  }
  expect(looks()).toBeLessThanOrEqual(10_000 + 100 * 3)
})

test('whoever has not looked for long looks at all of them once', async () => {
  const { choosable, lines, known, looks } = watched(50)
  choosable.at(known, startMs)
  for (let n = 0; n < 5_000; n += 1) await lines.change(`a${n % 50}`, condition => ({ ...condition, failures: n }))
  choosable.at(known, startMs)
  expect(looks()).toBe(100)
})

test('accounts as the operator has them now, without those that have gone', () => {
  const { account } = candidate('a', { concurrency: 1 })
  const gone = candidate('b').account
  const before = new Map([account, gone].map(one => [one.id, one]))
  const choosable = new Choosable(
    [account, gone].map(one => ({ account: one, model: 'sim' })),
    before,
  )
  expect(choosable.as(before)).toBe(choosable)
  const now: ReadonlyMap<string, Account> = new Map([['a', { ...account, concurrency: 7 }]])
  expect(choosable.as(now).servers).toEqual([{ account: now.get('a'), model: 'sim' }])
  expect(choosable.as(now)).toBe(choosable.as(now))
})

test('only one account, only those of an organization', () => {
  const accounts = ['a', 'b', 'c'].map(name => ({ ...candidate(name).account, organization: name === 'c' ? null : 'acme' }))
  const choosable = new Choosable(
    accounts.map(account => ({ account, model: 'sim' })),
    new Map(),
  )
  const names = (part: Choosable) => part.servers.map(({ account }) => account.name)
  expect(names(choosable.only('b'))).toEqual(['b'])
  expect(names(choosable.only('z'))).toEqual([])
  expect(names(choosable.within('organization acme'))).toEqual(['a', 'b'])
  expect(names(choosable.within('account c'))).toEqual(['c'])
  expect(choosable.within('organization acme')).toBe(choosable.within('organization acme'))
})

test('of few all are compared, of many two drawn by lot', () => {
  expect(drawn(31, () => 0.5)).toHaveLength(31)
  expect(drawn(32, () => 0.5)).toEqual([16, 16])
})
