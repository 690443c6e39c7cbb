import { expect, test } from 'vitest'
import { makeKey, removeKey } from '../../src/directory/keys.ts'
import { changeDirectory } from '../../src/directory/revision.ts'
import { statement } from '../../src/storage/database.ts'
import { type Answer, send } from '../client.ts'
import { onPostgres } from '../engines.ts'
import { controlledBooks } from '../journey/controlled.ts'
import { until } from '../world.ts'
import { openShared, type Shared, skewedClock, watchedLease } from './two-gateways.ts'

/** Gateways that share their books, and nothing else. */

const settings = { leaseMs: 1_500, leaseRenewMs: 100 }
/** So many renewals take more than two leases: a hold that may expire has done so by then. */
const twoLeases = 30
const ask = { model: 'sim', input: 'hello', stream: true }

onPostgres('gateways on the same books', () => {
  test.each([{ s: 60 }, { s: -60 }])('a gateway whose clock is off by $s s ends nobody’s holds, and keeps its own', async ({ s }) => {
    const { lease, adapters } = watchedLease()
    const skewed = watchedLease()
    await using world = await openShared({ settings, adapters })
    const other = await world.beside({ adapters: { ...skewed.adapters, clock: skewedClock(s * 1_000) } })
    world.sim.script({}, [{ hold: 'work' }, { hold: 'work' }])
    const answers = [world.url, other.url].map(url => send({ url, key: world.key }, { body: ask }))
    await world.sim.seen(2)
    const before = { here: lease.renewals, there: skewed.lease.renewals }
    await until(() => lease.renewals > before.here + twoLeases && skewed.lease.renewals > before.there + twoLeases, 'nobody renews')
    expect(await statesOfHolds(world)).toEqual(['held', 'held'])
    world.sim.open('work')
    for (const { status } of await Promise.all(answers)) expect(status).toBe(200)
    expect(await statesOfHolds(world)).toEqual(['settled', 'settled'])
    await world.quiet()
  })

  test('a gateway that starts while another one could not renew its lease does not take it for dead', async () => {
    const { lease, adapters } = watchedLease()
    await using world = await openShared({ settings, adapters })
    world.sim.script({}, { hold: 'work' })
    const answer = send(world, { body: ask })
    await world.sim.seen(1)
    lease.isAway = true
    await until(async () => (await living(world)) === 0, 'the lease never runs out')
    await world.beside()
    expect(await living(world)).toBe(1)
    lease.isAway = false
    const before = lease.renewals
    await until(() => lease.renewals > before + twoLeases, 'nobody renews')
    expect(await statesOfHolds(world)).toEqual(['held'])
    world.sim.open('work')
    expect((await answer).status).toBe(200)
    expect(await statesOfHolds(world)).toEqual(['settled'])
    await world.quiet()
  })

  test('a key that is revoked on one gateway is refused by another, though nobody told it', async () => {
    await using world = await openShared()
    const other = await world.beside()
    const { entity, secret, steps } = makeKey({ ...keyDraft, userId: world.user.id, groupIds: [world.group.id] }, Date.now())
    await changeDirectory(world.database, steps)
    const asked = (): Promise<Answer> => send({ url: other.url, key: secret }, { body: ask })
    expect((await asked()).status).toBe(200)
    await changeDirectory(world.database, removeKey(entity))
    await until(async () => (await asked()).status === 401, 'a revoked key works for ever')
    await world.quiet()
  })

  test('each lists all that live, with what they told last; one that has stopped is gone', async () => {
    await using world = await openShared({ settings })
    const [one, other] = [await world.beside(), await world.beside()]
    world.sim.script({}, { hold: 'work' })
    const answer = send({ url: other.url, key: world.key }, { body: ask })
    await world.sim.seen(1)
    const calls = async () => (await one.nodes.all()).map(({ id, callsInFlight }) => [id, callsInFlight])
    const ids = [world.headgate, one, other].map(({ gateway }) => gateway.leaseId)
    await until(async () => (await calls()).some(([, count]) => count === 1), 'the call is not told of')
    const [itself, ...others] = await calls()
    expect(itself).toEqual([ids[1], 0])
    expect(others).toEqual([
      [ids[0], 0],
      [ids[2], 1],
    ])
    world.sim.open('work')
    expect((await answer).status).toBe(200)
    await other.stop()
    expect((await calls()).map(([id]) => id)).toEqual([ids[1], ids[0]])
  })

  test('while the books are away a gateway lists itself, as it fares then', async () => {
    const controlled = controlledBooks()
    await using world = await openShared({ settings })
    const other = await world.beside({ adapters: controlled.adapters })
    expect(await other.nodes.all()).toHaveLength(2)
    controlled.books = 'away'
    expect((await other.nodes.all()).map(({ id, heardMsAgo }) => [id, heardMsAgo])).toEqual([[other.gateway.leaseId, 0]])
  })

  test('a gateway with another secret key refuses to start, and says where the right one is', async () => {
    await using world = await openShared({ accounts: [] })
    const refused = world.beside({ settings: { secretKey: 'cd'.repeat(32) } })
    await expect(refused).rejects.toThrow(/^These books belong to another secret key\. .* the same HEADGATE_SECRET_KEY/)
    await world.beside()
  })
})

const keyDraft = {
  ...{ name: 'revoked', concurrency: null, requestsPerMinute: null, tokensPerMinute: null, allowAddresses: [], denyAddresses: [] },
  ...{ expiresAtMs: null, disabled: false },
}

async function statesOfHolds({ database }: Shared): Promise<unknown[]> {
  return (await database.report(statement('select state from holds order by id'))).map(({ state }) => state)
}

/** Gateways whose lease runs, by the books' own clock. */
async function living({ headgate }: Shared): Promise<number> {
  return (await headgate.gateway.ledger.leases()).length
}
