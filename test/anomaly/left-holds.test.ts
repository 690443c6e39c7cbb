import { expect, test } from 'vitest'
import { openLedger } from '../../src/ledger/ledger.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { holdOfTheDead } from '../dead-hold.ts'
import { until } from '../world.ts'
import { startGateway } from './gateway-process.ts'
import { leaveBooks, select, withBooks } from './left-books.ts'

test('whoever has the data folder is alone: what a dead gateway held there is free at the next start, not a lease later', async () => {
  await using world = await leaveBooks()
  await withBooks(world.data, async database => {
    const ledger = openLedger(database, systemClock)
    await ledger.renewLease('dead', 3_600_000)
    await holdOfTheDead(ledger, world)
  })
  await using _ = await startGateway(world.data)
  await withBooks(world.data, async database => {
    const states = async () => (await select(database, 'select state from holds')).map(({ state }) => state)
    await until(async () => (await states()).every(state => state === 'expired'), 'it is held for ever')
    expect(await select(database, 'select id, ended from calls')).toEqual([{ id: 'orphan', ended: 'gateway_died' }])
  })
})
