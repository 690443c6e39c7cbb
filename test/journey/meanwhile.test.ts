import { expect, test } from 'vitest'
import type { Group, Key } from '../../src/directory/entities.ts'
import { changeGroup, makeGroup } from '../../src/directory/groups.ts'
import { changeKey, listKeys, removeKey } from '../../src/directory/keys.ts'
import { endLine, placePrice } from '../../src/directory/price-line.ts'
import { changeBook, readBook } from '../../src/directory/prices.ts'
import { changeUser } from '../../src/directory/users.ts'
import { parseDecimal } from '../../src/ledger/money.ts'
import { statement } from '../../src/storage/database.ts'
import { send } from '../client.ts'
import { openWorld, type World } from '../world.ts'

/** A call is paid as it began, by whoever paid then, whatever an operator does while it runs. The subscription's side is in subscriptions.test.ts. */

const ask = { model: 'sim', input: 'hello', max_output_tokens: 1_000 }
const usage = { input_tokens: 10, output_tokens: 100 }
const cost = 10n * 2_000n + 100n * 10_000n

const change = (group: Partial<Group>) => (world: World) => world.commit(changeGroup({ ...world.group, ...group }))

async function setPrice({ headgate, database, commit }: World, dearer: bigint): Promise<void> {
  const nowMs = headgate.gateway.clock.nowMs()
  const book = await readBook(database, nowMs)
  const [line] = book.standing
  const placed = placePrice({ ...line!, output: line!.output * dearer }, { fromMs: nowMs }, book.standing)
  await commit(changeBook(book, [dearer === 0n ? endLine(book.standing, nowMs) : placed], nowMs).steps)
}

async function key({ database }: World): Promise<Key> {
  const [only] = await listKeys(database, { after: '', limit: 2 })
  return only!
}

const meanwhile: readonly (readonly [what: string, does: (world: World) => Promise<unknown>])[] = [
  ['its price is set', world => setPrice(world, 100n)],
  ['its price ends', world => setPrice(world, 0n)],
  ['its group’s multiplier is raised', change({ multiplier: parseDecimal('100') })],
  ['its group becomes free', change({ multiplier: parseDecimal('0') })],
  ['its group is paid by subscription', change({ pays: 'subscription' })],
  [
    'its key is moved to another group',
    async world => {
      const other = makeGroup({ ...world.group, name: 'other' }, Date.now())
      await world.commit([...other.steps, ...changeKey({ ...(await key(world)), groupIds: [other.entity.id] })])
    },
  ],
  ['its key is removed', async world => world.commit(removeKey(await key(world)))],
  ['its user is disabled', world => world.commit(changeUser({ ...world.user, disabled: true }))],
  ['its account is disabled and leaves the group', world => world.changeAccount(world.accounts[0]!, { disabled: true, groupIds: [] })],
  [
    'all that is free is taken from the wallet',
    async world => {
      const { balance, held } = await world.balance()
      const taking = { walletId: world.user.walletId, amount: balance - held, reference: 'd', reason: null, author: null }
      expect(await world.headgate.gateway.ledger.debit(taking)).toEqual({ balance: held, repeated: false })
      expect(await world.headgate.gateway.ledger.debit({ ...taking, amount: 1n, reference: 'more' })).toEqual({ refused: 'short' })
    },
  ],
  [
    'somebody wants to give its charge back',
    async world => {
      const [hold] = await world.database.report(statement('select id from holds'))
      const refunding = { callId: hold!.id as string, reason: 'too soon', author: 'test' }
      expect(await world.headgate.gateway.ledger.refund(refunding)).toEqual({ refused: 'not_charged' })
    },
  ],
]

test.for(meanwhile.flatMap(([what, does]) => [false, true].map(stream => ({ what, does, stream }))))(
  'while a call runs, $what: it is charged as it began (stream $stream)',
  async ({ does, stream }) => {
    await using world = await openWorld({ balance: '1' })
    world.sim.script({}, { usage, hold: { gate: 'half', at: 'firstEvent' } })
    const answer = send(world, { body: { ...ask, stream } })
    await world.sim.gate('half').reached()
    const before = await world.balance()
    expect(before.held).toBeGreaterThan(cost)
    await does(world)
    const { balance } = await world.balance()
    world.sim.open('half')
    expect((await answer).status).toBe(200)
    expect(await world.rows()).toMatchObject([{ ended: 'completed', basis: 'reported', cost, uncollected: 0n, held: before.held }])
    expect(await world.balance()).toEqual({ balance: balance - cost, held: 0n })
    await world.quiet()
  },
)
