import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openLedger } from '../../src/ledger/ledger.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { openStream, refusalOf, send, type Target } from '../client.ts'
import { controlledBooks } from '../journey/controlled.ts'
import { openWorld, until, type World } from '../world.ts'
import { startGateway } from './gateway-process.ts'
import { chargesByCall, leaveBooks, select, withBooks } from './left-books.ts'

/** A response in the background outlives the gateway that asked for it, and is charged once all the same. */

const asked = { model: 'sim', input: 'Think it over.', background: true }
const waits = { hold: { gate: 'work', at: 4 } } as const
/** A lease is over long before the response is. */
const settings = { backgroundPollMs: 20, backgroundPollMaxMs: 50, leaseMs: 1_000, leaseRenewMs: 300 }

type Left = Pick<World, 'sim'> & { readonly data: string }

/** One row, one charge, as the upstream's invoice has it; no money held, nothing left to ask for. */
async function expectBilledOnce({ data, sim }: Left): Promise<void> {
  await withBooks(data, async database => {
    await until(async () => (await select(database, 'select * from background')).length === 0, 'it is never settled')
    const [line, ...more] = sim.invoice
    expect(more).toEqual([])
    const rows = await select(database, `select * from calls where path = '/v1/responses'`)
    expect(rows).toMatchObject([{ ended: 'completed', basis: 'reported', cost: line!.costNanos, uncollected: 0n }])
    expect([...(await chargesByCall(database)).values()]).toEqual([[-line!.costNanos]])
    expect(await select(database, `select * from holds where state = 'held'`)).toEqual([])
    expect(await openLedger(database, systemClock).check()).toEqual([])
  })
}

test.each([['JSON'], ['a stream']])('killed while %s’s response is asked for, the next gateway asks on and charges it once', async how => {
  await using world = await leaveBooks()
  world.sim.script({ route: 'responses' }, waits)
  {
    await using first = await startGateway(world.data, settings)
    const target: Target = { url: first.url, key: world.key }
    if (how === 'JSON') expect((await send(target, { body: asked })).json.status).toBe('queued')
    else await openStream(target, { body: asked }).until('response.in_progress')
    if (how === 'JSON') await world.sim.seen(({ method }) => method === 'GET')
    first.child.kill('SIGKILL')
    await first.exit
  }
  await using second = await startGateway(world.data, settings)
  // For more than a whole lease its money stays aside, though the gateway that set it aside is dead.
  const startedMs = Date.now()
  await withBooks(world.data, async database => {
    const dead = `select id from leases where id <> 'background' and expires_at <= ${startedMs + settings.leaseMs}`
    await until(async () => (await select(database, dead)).length === 0, 'the dead gateway’s lease is never cleared')
    expect(await select(database, 'select state from holds')).toEqual([{ state: 'held' }])
    expect(await select(database, 'select basis from calls')).toEqual([{ basis: 'pending' }])
  })
  world.sim.open('work')
  await expectBilledOnce(world)
  second.child.kill('SIGTERM')
  expect(await second.exit).toBe(0)
})

test.each([['JSON'], ['a stream']])('killed as soon as the client has the id, in %s, it is the client’s after the restart', async how => {
  await using opened = await openWorld({ accounts: [{}, {}] })
  const { secret: stranger } = await opened.addKey(await opened.addUser())
  await opened.headgate.stop()
  const world = { ...opened, data: join(opened.folder, 'data') }
  world.sim.script({ route: 'responses' }, waits)
  let id = ''
  {
    await using first = await startGateway(world.data, settings)
    const target: Target = { url: first.url, key: world.key }
    if (how === 'JSON') id = String((await send(target, { body: asked })).json.id)
    else id = String((await openStream(target, { body: asked }).until('response.created')).response.id)
    first.child.kill('SIGKILL')
    await first.exit
  }
  await using second = await startGateway(world.data, settings)
  const mine: Target = { url: second.url, key: world.key }
  const retrieve = { method: 'GET', path: `/v1/responses/${id}` }
  expect((await send(mine, retrieve)).json).toMatchObject({ id })
  expect(refusalOf(await send(mine, { ...retrieve, key: stranger }))).toMatchObject({ status: 404 })
  world.sim.open('work')
  await expectBilledOnce(world)
})

test('told to stop while one runs, a gateway stops at once, and the next one settles it', async () => {
  await using world = await leaveBooks()
  world.sim.script({ route: 'responses' }, waits)
  {
    await using first = await startGateway(world.data, { ...settings, stopNoticeMs: 0, stopStreamsMs: 60_000 })
    expect((await send({ url: first.url, key: world.key }, { body: asked })).json.status).toBe('queued')
    first.child.kill('SIGTERM')
    expect(await first.exit).toBe(0)
  }
  world.sim.open('work')
  await using _ = await startGateway(world.data, settings)
  await expectBilledOnce(world)
})

test.each(['away', 'lost'] as const)('when the books are %s at its end, it is charged once when they are back', async how => {
  const controlled = controlledBooks()
  await using world = await openWorld({ adapters: controlled.adapters, settings: { ...settings, settleWithinMs: 50 } })
  const { balance } = await world.balance()
  world.sim.script({ route: 'responses' }, waits)
  expect((await send(world, { body: asked })).json.status).toBe('queued')
  controlled.books = how
  world.sim.open('work')
  await until(() => world.headgate.gateway.books.owed === 1, 'it is never owed')
  controlled.books = 'well'
  await until(() => world.headgate.gateway.books.owed === 0, 'it is never taken')
  const [line] = world.sim.invoice
  expect(await world.balance()).toEqual({ balance: balance - line!.costNanos, held: 0n })
  expect(await world.rows()).toMatchObject([{ basis: 'reported', cost: line!.costNanos }])
  await world.quiet()
})
