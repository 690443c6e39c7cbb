import { expect, test } from 'vitest'
import { between, randomFrom } from '../chance.ts'
import { openStream, send } from '../client.ts'
import { inParallel, until } from '../world.ts'
import { mostAtOnceOf, type Run, runsOf } from './at-once.ts'
import { type Cluster, onCluster, openCluster } from './cluster.ts'

/** T9: slots are never exceeded, and never leak. The scripted upstream counts what is there at once. */

const isFull = process.env['HEADGATE_TEST_FULL'] !== undefined
const calls = isFull ? 3_000 : 300
/** More clients than any limit lets in, so that there is always a line. */
const clients = 60
/** Only slots keep anybody waiting, and a busy machine may take long. */
const patient = {
  ...{ refusalsPerMinute: 0, lineExtra: clients, poolWaitingMax: clients, lineTimeoutMs: 120_000, booksTimeoutMs: 120_000 },
  // A gateway that goes on alone keeps to its share: less than each limit, which is no answer here.
  redisTimeoutMs: 20_000,
}
const open = 200

/** What the program takes when nothing is said: the promise is made of these. */
const leases = { leaseMs: 30_000, leaseRenewMs: 5_000 }

interface Client {
  readonly user: string
  readonly name: string
  readonly key: string
}

/** Each with its limit, and those of its keys; null: none of its own. */
interface User {
  readonly user: string
  readonly concurrency: number
  readonly keys: readonly (number | null)[]
}

const limitedUsers: readonly User[] = [
  { user: 'a', concurrency: 6, keys: [4, 3] },
  { user: 'b', concurrency: 5, keys: [null] },
  { user: 'c', concurrency: 9, keys: [null] },
]
const freeUsers: readonly User[] = ['a', 'b', 'c'].map(user => ({ user, concurrency: 100, keys: [null] }))

onCluster('T9: slots of three gateways', () => {
  test.each([
    { what: 'user', accounts: [100], users: limitedUsers, of: ({ who }: Run) => who['user']!, most: { a: 6, b: 5, c: 9 } },
    { what: 'key', accounts: [100], users: limitedUsers, of: ({ who }: Run) => who['key']!, most: { a1: 4, a2: 3, b1: 5, c1: 9 } },
    { what: 'account', accounts: [7, 4], users: freeUsers, of: ({ key }: Run) => key, most: { 'up-a1': 7, 'up-a2': 4 } },
  ])(
    'no $what has more at once than its limit',
    async ({ what, accounts, users, of, most }) => {
      await using cluster = await openCluster({ accounts, settings: patient })
      await offerCalls(cluster, await addClients(cluster, users))
      const found = mostAtOnceOf(runsOf(cluster.sim), of)
      console.log(`${calls} calls by ${clients} clients on three gateways, most at once by ${what}, and the limits:`, found, most)
      const over = Object.entries(most).filter(([name, limit]) => found[name]! > limit)
      const full = Object.entries(most).filter(([name, limit]) => found[name] === limit)
      expect(over).toEqual([])
      expect(full.length, 'no limit was reached, so none was tried').toBeGreaterThan(0)
      await expectNothingLeft(cluster)
    },
    120_000,
  )

  test(`a gateway that is killed with ${open} open leaves neither slots nor holds`, async () => {
    await using cluster = await openCluster({ accounts: [open], settings: leases })
    const person = await cluster.addPerson({ concurrency: open, balance: '1000' })
    cluster.sim.script({}, { hold: 'open' })
    const [dying, living] = cluster.nodes
    const broken = Array.from({ length: open }, () => send({ url: dying!.url, key: person.key }))
    await cluster.sim.gate('open').reached(open)
    expect(await cluster.slotsTaken()).toEqual({ users: open, accounts: open })
    expect(await cluster.holdsOpen()).toBe(open)

    const killedMs = performance.now()
    await dying!.kill()
    expect((await Promise.all(broken)).map(({ ending }) => ending)).toEqual(Array(open).fill('broken'))
    cluster.sim.open('open')
    const seconds = { slots: 0, holds: 0 }
    await until(
      async () => {
        const [{ users: ofUsers, accounts }, holds] = await Promise.all([cluster.slotsTaken(), cluster.holdsOpen()])
        const now = (performance.now() - killedMs) / 1_000
        if (ofUsers + accounts === 0) seconds.slots ||= now
        if (holds === 0) seconds.holds ||= now
        return seconds.slots > 0 && seconds.holds > 0
      },
      'slots or holds are still there',
      leases.leaseMs,
    )
    console.log(`killed with ${open} open: slots free after ${seconds.slots.toFixed(1)} s, money after ${seconds.holds.toFixed(1)} s`)
    const rows = await cluster.select(`select ended, cost, count(*) as n from calls group by ended, cost`)
    expect(rows).toEqual([{ ended: 'gateway_died', cost: 0n, n: BigInt(open) }])
    expect((await send({ url: living!.url, key: person.key })).status).toBe(200)
    await expectNothingLeft(cluster)
  }, 120_000)
})

async function addClients(cluster: Cluster, users: readonly User[]): Promise<readonly Client[]> {
  const found: Client[] = []
  for (const { user, concurrency, keys } of users) {
    const person = await cluster.addPerson({ concurrency, keyConcurrency: keys[0] ?? null })
    found.push({ user, name: `${user}1`, key: person.key })
    for (const [index, limit] of keys.slice(1).entries()) {
      const draft = { user: person.email, groups: ['default'], name: `test${index}`, concurrency: limit }
      found.push({ user, name: `${user}${index + 2}`, key: (await cluster.admin('POST', '/keys', draft)).key })
    }
  }
  return found
}

/** So many at once, each on another gateway than the one before, half of them streams. */
async function offerCalls({ sim, nodes }: Cluster, people: readonly Client[]): Promise<void> {
  const chance = randomFrom(calls)
  sim.script(
    {},
    Array.from({ length: calls }, () => ({
      headersAfterMs: between(chance, 5, 40),
      firstEventAfterMs: between(chance, 0, 20),
      betweenEventsMs: between(chance, 0, 3),
    })),
  )
  await inParallel(calls, clients, async number => {
    const { user, name, key } = people[number % people.length]!
    const target = { url: nodes[number % nodes.length]!.url, key }
    const body = { model: 'sim', input: 'hello', metadata: { user, key: name } }
    if (number % 2 === 0) return expect((await send(target, { body })).status).toBe(200)
    await using stream = openStream(target, { body })
    expect((await stream.rest()).at(-1)).toMatchObject({ type: 'response.completed' })
  })
}

async function expectNothingLeft(cluster: Cluster): Promise<void> {
  await until(async () => (await cluster.holdsOpen()) === 0, 'money is still held')
  await until(async () => Object.values(await cluster.slotsTaken()).every(count => count === 0), 'slots are still taken')
  expect(await cluster.differences()).toEqual([])
}
