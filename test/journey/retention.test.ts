import { expect, test } from 'vitest'
import { DatabaseAway, statement } from '../../src/storage/database.ts'
import { dayMs } from '../../src/usage/account-days.ts'
import { cutOld } from '../../src/usage/cut.ts'
import { refusalOf, send } from '../client.ts'
import { onEveryEngine, onPostgres } from '../engines.ts'
import { urlAt } from '../shared-cluster.ts'
import { inParallel, openWorld, until, type World } from '../world.ts'

onEveryEngine((_, engine) => {
  const opened = async (name: string) =>
    openWorld({ settings: { usageKeptDays: 31, databaseUrl: engine === 'PostgreSQL' ? await urlAt(`${name}${Date.now()}`) : null } })

  /** As a gateway does that looks so many days later. */
  async function cutAfter(world: World, days: number): Promise<void> {
    await cutOld(world.database, { nowMs: Date.now() + days * dayMs, keptDays: 31, pause: async () => true, told: () => {} })
  }

  test('a response whose call was cut long ago can still be gone on from, by its owner alone', async () => {
    await using world = await opened('chain')
    const { json } = await send(world, { body: { model: 'sim', input: 'remember this' } })
    const stranger = await world.addKey(await world.addUser())
    const balance = await world.balance()
    await cutAfter(world, 100)
    expect([await world.rows(), await world.attempts()]).toEqual([[], []])
    expect(await world.balance()).toEqual(balance)
    await world.quiet()
    const next = { model: 'sim', input: 'and?', previous_response_id: String(json.id) }
    expect((await send(world, { body: next })).status).toBe(200)
    expect(refusalOf(await send(world, { body: next, key: stranger.secret }))).toMatchObject({ status: 400, param: 'previous_response_id' })
    await world.quiet()
  })

  test('a gateway cuts as it serves, calls that run now among them, and no call notices', async () => {
    await using world = await opened('serving')
    let isOver = false
    const serving = inParallel(40, 5, async () => expect((await send(world)).status).toBe(200)).finally(() => {
      isOver = true
    })
    while (!isOver) await cutAfter(world, 100).catch(mustBeAway) // Where a lock was not had in time, the next run has it.
    await serving
    await world.quiet()
    await until(() => cutAfter(world, 100).then(() => true, mustBeAway), 'the last cut')
    expect(await world.rows()).toEqual([])
    await world.quiet()
  })
})

onPostgres('on a server', () => {
  test('the months to come are made by the gateway that starts', async () => {
    await using world = await openWorld({ settings: { databaseUrl: await urlAt(`months${Date.now()}`) } })
    const month = new Date(Date.now() + 32 * dayMs).toISOString().slice(0, 'yyyy-mm'.length).replace('-', '_')
    const made = statement(`select count(*) as n from pg_inherits where inhrelid = to_regclass('calls_${month}')`)
    await until(async () => (await world.database.report(made))[0]!.n === 1n, 'the next month')
    expect((await send(world)).status).toBe(200)
    await world.quiet()
  })
})

function mustBeAway(error: unknown): false {
  expect(error).toBeInstanceOf(DatabaseAway)
  return false
}
