import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { type Database, DatabaseAway } from '../../src/storage/database.ts'
import { onPostgres } from '../engines.ts'
import { gauge, until } from '../world.ts'
import { type Beside, openShared, type Shared, watchedLease } from './two-gateways.ts'

/** A response in the background is asked for by one gateway, and its client may come to any. */

const quickly = { backgroundPollMs: 5, backgroundPollMaxMs: 20 }
/** The gateway that made it never asks: what happens does so because a client came, or another gateway took over. */
const never = { backgroundPollMs: 3_600_000, backgroundPollMaxMs: 3_600_000 }
const leases = { leaseMs: 1_500, leaseRenewMs: 100 }
const asked = { model: 'sim', input: 'Think it over.', background: true } as const
const waits = { hold: { gate: 'work', at: 5 } } as const

function sdk({ url }: { readonly url: string }, { key }: Shared): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
}

/** Of the responses themselves, not of what was asked about them. */
async function made(world: Shared) {
  return (await world.rows()).filter(({ path }) => path === '/v1/responses')
}

/** One row, one charge, as the upstream's invoice has it, and nobody waits for more. */
async function expectBilledOnce(world: Shared, balance: bigint, ended: string): Promise<void> {
  await until(async () => (await world.balance()).held === 0n, 'it is never settled')
  await world.sim.idle()
  const { costNanos } = world.sim.invoice[0]!
  expect(world.sim.invoice).toHaveLength(1)
  expect(await made(world)).toMatchObject([{ ended, basis: 'reported', cost: costNanos, uncollected: 0n }])
  expect(await world.balance()).toEqual({ balance: balance - costNanos, held: 0n })
  await world.quiet()
}

onPostgres('a response in the background, of several gateways', () => {
  describe('made by one that never asks for it', () => {
    test('is on the books before a client of another sees that it is complete', async () => {
      await using world = await openShared({ settings: never })
      const other = await world.beside()
      const { balance } = await world.balance()
      const { id } = await sdk(world, world).responses.create(asked)
      await world.sim.idle()
      expect((await sdk(other, world).responses.retrieve(id)).status).toBe('completed')
      expect(await made(world)).toMatchObject([{ ended: 'completed' }])
      await expectBilledOnce(world, balance, 'completed')
    })

    test('is on the books before a client of another has its last event', async () => {
      await using world = await openShared({ settings: never })
      const other = await world.beside()
      const { balance } = await world.balance()
      const { id } = await sdk(world, world).responses.create(asked)
      const events = await sdk(other, world).responses.retrieve(id, { stream: true })
      for await (const { type } of events) if (type === 'response.completed') break
      expect(await made(world)).toMatchObject([{ ended: 'completed' }])
      await expectBilledOnce(world, balance, 'completed')
    })

    test.each(['cancel', 'delete'] as const)('is charged for what was made until a client of another asks to %s it', async how => {
      await using world = await openShared({ settings: never })
      const other = await world.beside()
      const { balance } = await world.balance()
      world.sim.script({ route: 'responses' }, waits)
      const { id } = await sdk(world, world).responses.create(asked)
      await world.sim.gate('work').reached()
      await sdk(other, world).responses[how](id)
      expect(await made(world)).toMatchObject([{ ended: 'cancelled' }])
      await expectBilledOnce(world, balance, 'cancelled')
    })

    test('is not deleted while the books cannot say whether it still runs', async () => {
      const lookUp = { isAway: false }
      const wrapDatabase = (database: Database): Database => ({
        ...database,
        async read(statement, values) {
          if (lookUp.isAway && statement.sql.includes('from background')) throw new DatabaseAway('away, as planned')
          return database.read(statement, values)
        },
      })
      await using world = await openShared({ settings: never })
      const other = await world.beside({ adapters: { wrapDatabase } })
      world.sim.script({ route: 'responses' }, waits)
      const { id } = await sdk(world, world).responses.create(asked)
      lookUp.isAway = true
      await expect(sdk(other, world).responses.delete(id)).rejects.toMatchObject({ status: 503, type: 'api_error' })
      lookUp.isAway = false
      world.sim.open('work')
      await world.sim.idle()
      await sdk(other, world).responses.delete(id)
      expect(await made(world)).toMatchObject([{ ended: 'completed' }])
    })
  })

  test('is asked for by the gateway that made it, and by no other', async () => {
    await using world = await openShared({ settings: { ...quickly, ...leases } })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, waits)
    await sdk(world, world).responses.create(asked)
    const { lease, adapters } = watchedLease()
    const other = await world.beside({ adapters })
    await until(() => lease.renewals > 2, 'nobody renews')
    expect([await waiting(world.headgate), await waiting(other)]).toEqual([1, 0])
    world.sim.open('work')
    await expectBilledOnce(world, balance, 'completed')
  })

  test('of a gateway that is silent is taken over by one other, and charged once', async () => {
    const { lease, adapters } = watchedLease()
    await using world = await openShared({ settings: { ...never, ...leases }, adapters })
    const { balance } = await world.balance()
    const others = [await world.beside({ settings: quickly }), await world.beside({ settings: quickly })]
    world.sim.script({ route: 'responses' }, waits)
    await sdk(world, world).responses.create(asked)
    lease.isAway = true
    await until(async () => (await counted(others)) === 1, 'nobody takes it over, or both do')
    world.sim.open('work')
    await expectBilledOnce(world, balance, 'completed')
  })

  test('of a gateway that stops is taken over without waiting for its lease', async () => {
    await using world = await openShared({ settings: { ...quickly, leaseRenewMs: 100 } })
    const other = await world.beside({ settings: never })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, waits)
    await sdk(other, world).responses.create(asked)
    await other.stop()
    await until(async () => (await waiting(world.headgate)) === 1, 'nobody takes it over')
    world.sim.open('work')
    await expectBilledOnce(world, balance, 'completed')
  })
})

/** How many responses it asks for. */
function waiting({ gateway }: Pick<Beside, 'gateway'>): Promise<number> {
  return gauge({ headgate: { gateway } }, 'headgate_background_pending')
}

async function counted(gateways: readonly Beside[]): Promise<number> {
  return (await Promise.all(gateways.map(waiting))).reduce((sum, count) => sum + count, 0)
}
