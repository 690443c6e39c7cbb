import { expect, test } from 'vitest'
import { type Database, DatabaseAway, statement } from '../../src/storage/database.ts'
import { holdOfTheDead } from '../dead-hold.ts'
import { openWorld, until, type World } from '../world.ts'

const settings = { leaseMs: 1_500, leaseRenewMs: 100 }

async function stateOfHold(world: World, callId = 'orphan'): Promise<unknown> {
  return (await world.database.report(statement('select state from holds where id = $1'), [callId]))[0]?.['state']
}

test('the hold of a gateway that died is given back, and its call has a row', async () => {
  await using world = await openWorld({ settings })
  await holdOfTheDead(world.headgate.gateway.ledger, world)
  await until(async () => (await stateOfHold(world)) === 'expired', 'it is held for ever')
  expect((await world.rows())[0]).toMatchObject({ id: 'orphan', ended: 'gateway_died', basis: 'none', cost: 0n })
  await world.quiet()
})

test('a response in the background that cannot be read keeps no hold from being given back', async () => {
  await using world = await openWorld({ settings })
  await holdOfTheDead(world.headgate.gateway.ledger, world)
  const write = statement('insert into background (call_id, pending, response_id, lease_id) values ($1, $2, $3, $4)')
  await world.database.commit([{ statement: write, values: ['orphan', 'what another version wrote', 'resp_1', 'dead'] }], 'synced')
  await until(async () => (await stateOfHold(world)) === 'expired', 'it is held for ever')
  await holdOfTheDead(world.headgate.gateway.ledger, world, 'next')
  await until(async () => (await stateOfHold(world, 'next')) === 'expired', 'the next one is held for ever')
  await world.quiet()
})

test('after an outage of the books, however short, nothing expires for one whole lease', async () => {
  let isAway = false
  const renewals = { failed: 0, done: 0 }
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    async commit(steps, durability) {
      const isRenewal = steps[0]?.statement.sql.startsWith('insert into leases') ?? false
      if (isRenewal && isAway) {
        renewals.failed += 1
        throw new DatabaseAway('away, as planned')
      }
      const committed = await database.commit(steps, durability)
      if (isRenewal) renewals.done += 1
      return committed
    },
  })
  await using world = await openWorld({ settings, adapters: { wrapDatabase } })
  isAway = true
  await until(() => renewals.failed > 0, 'the outage is not noticed')
  await holdOfTheDead(world.headgate.gateway.ledger, world)
  const before = renewals.done
  isAway = false
  await until(() => renewals.done >= before + 5, 'the lease is not renewed')
  expect(await stateOfHold(world)).toBe('held')
  await until(async () => (await stateOfHold(world)) === 'expired', 'it is held for ever')
  await world.quiet()
})
