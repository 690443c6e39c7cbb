import { expect, test } from 'vitest'
import { makeCode } from '../../src/directory/codes.ts'
import type { Subscription } from '../../src/directory/entities.ts'
import { redeemSteps } from '../../src/directory/redeem.ts'
import { endSubscription, extendSubscription, makeSubscription } from '../../src/directory/subscriptions.ts'
import { parseUsd } from '../../src/ledger/money.ts'
import { subscriptionFunds } from '../../src/ledger/subscription.ts'
import type { Step } from '../../src/storage/database.ts'
import { refusalOf, send } from '../client.ts'
import { openWorld, type World } from '../world.ts'

/** SPEC 2: a call belongs to the windows in which it began, whatever becomes of its subscription while it runs. */

const dayMs = 86_400_000
const small = { model: 'sim', input: 'x', max_output_tokens: 100 }
const limits = { dailyLimit: parseUsd('1'), weeklyLimit: null, monthlyLimit: parseUsd('5') }

interface Meanwhile {
  readonly what: string
  readonly steps: (subscription: Subscription, world: World) => readonly Step[]
  /** Whether a further call finds something to pay with. */
  readonly paysAfter: boolean
}

const meanwhile: readonly Meanwhile[] = [
  { what: 'it is extended', steps: one => extendSubscription(one, { byMs: 30 * dayMs }, Date.now()), paysAfter: true },
  { what: 'a code extends it', steps: (one, world) => redeemed(one, world, limits.dailyLimit), paysAfter: true },
  { what: 'a code puts another after it', steps: (one, world) => redeemed(one, world, null), paysAfter: true },
  { what: 'it is ended', steps: one => endSubscription(one, Date.now()), paysAfter: false },
]

function redeemed({ groupId }: Subscription, { user }: World, dailyLimit: bigint | null): readonly Step[] {
  const gives = { kind: 'subscription', groupId, days: 30, ...limits, dailyLimit } as const
  const code = makeCode({ gives, reason: 'test', author: 'test', expiresAtMs: null }, Date.now())
  return [...code.steps, ...redeemSteps({ code: code.entity, user, author: 'test' }, Date.now())]
}

test.for(meanwhile)('while a call runs, $what: it is served, and charged to its own windows', async ({ steps, paysAfter }) => {
  await using world = await openWorld({ group: { pays: 'subscription' }, balance: '0' })
  const startsAtMs = Date.now() - dayMs / 2
  const span = { startsAtMs, endsAtMs: startsAtMs + 2 * dayMs }
  const { entity, steps: assigning } = makeSubscription({ userId: world.user.id, groupId: world.group.id, ...span, ...limits }, Date.now())
  await world.commit(assigning)
  world.sim.script({}, [{ hold: 'first' }, {}])
  const first = send(world, { body: small })
  await world.sim.gate('first').reached()
  const funds = subscriptionFunds(entity, startsAtMs + dayMs / 2)
  const taken = async () => (await world.headgate.gateway.ledger.windows(funds)).map(({ used, held }) => ({ used, held }))
  const { held } = (await taken())[0]!
  expect(held).toBeGreaterThan(0n)

  await world.commit(steps(entity, world))
  expect(await taken()).toEqual(Array.from({ length: 3 }, () => ({ used: 0n, held })))
  world.sim.open('first')
  expect((await first).status).toBe(200)
  const [row] = await world.rows()
  expect(row).toMatchObject({ basis: 'reported', uncollected: 0n, held })
  expect(await taken()).toEqual(Array.from({ length: 3 }, () => ({ used: row!.cost, held: 0n })))

  const second = await send(world, { body: small })
  if (paysAfter) expect(second.status).toBe(200)
  else expect(refusalOf(second)).toMatchObject({ status: 429, message: 'Insufficient balance' })
  await world.quiet()
})
