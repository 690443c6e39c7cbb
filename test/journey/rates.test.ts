import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { type Asked, openStream, refusalOf, send } from '../client.ts'
import { inLine, inPoolLine, openWorld, until, type World, type WorldOptions } from '../world.ts'

/** SPEC 1.3: requests and tokens per minute, of users and keys. */

const overRate = (whose: string, limit: string) => ({
  status: 429,
  type: 'rate_limit_error',
  code: 'rate_limit_exceeded',
  param: null,
  message: `Rate limit reached for ${whose}: ${limit} per minute, please retry later`,
  retry: 'later',
})

const ok = async (world: World, key = world.key) => expect((await send(world, { key })).status).toBe(200)
const over = async (world: World, expected: object, key = world.key) => {
  const answer = await send(world, { key })
  expect(refusalOf(answer)).toEqual(expected)
  return Number(answer.headers['retry-after'])
}

test('so many requests of a user are let through, whichever keys they come by', async () => {
  await using world = await openWorld({ user: { requestsPerMinute: 3 } })
  const { secret } = await world.addKey(world.user)
  await ok(world)
  await ok(world, secret)
  await ok(world)
  // One of three comes back every twenty seconds.
  for (const key of [world.key, secret]) expect(await over(world, overRate('user', '3 requests'), key)).toBeOneOf([19, 20])
  const { secret: other } = await world.addKey(await world.addUser())
  await ok(world, other)
  await world.quiet()
})

test('so many requests of a key are let through, and its user’s other keys are free', async () => {
  await using world = await openWorld({ keyDraft: { requestsPerMinute: 1 } })
  const { secret } = await world.addKey(world.user)
  await ok(world)
  expect(await over(world, overRate('key', '1 requests'))).toBeOneOf([59, 60])
  await ok(world, secret)
  await world.quiet()
})

test('what one rate refuses, no other rate pays for', async () => {
  await using world = await openWorld({ user: { requestsPerMinute: 3 }, keyDraft: { requestsPerMinute: 1 } })
  const { secret } = await world.addKey(world.user)
  await ok(world)
  for (let i = 0; i < 5; i++) await over(world, overRate('key', '1 requests'))
  await ok(world, secret)
  await ok(world, secret)
  await over(world, overRate('user', '3 requests'), secret)
  await world.quiet()
})

test('tokens count when a call begins, by their estimate, and afterwards as they were used', async () => {
  // The sim counts a token for four bytes of the input: 2 here. The estimate is half of the body's 31 bytes.
  await using world = await openWorld({ user: { tokensPerMinute: 100 } })
  world.sim.script({}, [{ outputTokens: 40 }, { outputTokens: 60 }, {}])
  await ok(world)
  await ok(world)
  // 104 were used: the bucket owes four, and the next call needs sixteen.
  expect(await over(world, overRate('user', '100 tokens'))).toBeOneOf([11, 12])
  await world.quiet()
})

test('a call that is larger than a whole minute’s tokens passes when nothing else has, and then leaves a debt', async () => {
  await using world = await openWorld({ keyDraft: { tokensPerMinute: 10 } })
  world.sim.script({}, { outputTokens: 8 })
  await ok(world)
  expect(await over(world, overRate('key', '10 tokens'))).toBeOneOf([59, 60])
  await world.quiet()
})

test('a call over its rate takes no money, and is on the record', async () => {
  await using world = await openWorld({ user: { requestsPerMinute: 1 } })
  await ok(world)
  const before = await world.balance()
  await over(world, overRate('user', '1 requests'))
  expect(await world.balance()).toEqual(before)
  expect(world.sim.attempts).toHaveLength(1)
  expect((await world.rows()).at(-1)).toMatchObject({
    fault: 'rate_exceeded',
    ended: 'refused',
    status: 429n,
    requested_model: 'sim',
    held: 0n,
    cost: 0n,
    attempts: 0n,
  })
  await world.quiet()
})

test('the rate of an account refuses nobody: it steers the choice', async () => {
  await using world = await openWorld({ accounts: [{ requestsPerMinute: 1, priority: 1 }, { priority: 2 }] })
  for (let i = 0; i < 3; i++) await ok(world)
  expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a1', 'up-a2', 'up-a2'])
  await world.quiet()
})

describe('rejected calls consume no rate', () => {
  const one: WorldOptions = { user: { requestsPerMinute: 1 } }
  const sends =
    (asked: Asked, status: number) =>
    async (world: World): Promise<void> =>
      expect((await send(world, asked)).status).toBe(status)

  const rejections: readonly [string, WorldOptions, (world: World) => Promise<void>][] = [
    ['no body', one, sends({ body: '' }, 400)],
    ['no model', one, sends({ body: {} }, 400)],
    ['no price', one, sends({ body: { model: 'gold' } }, 400)],
    ['tool outputs without a context', one, sends({ body: { model: 'sim', input: [{ type: 'function_call_output' }] } }, 400)],
    ['a response that is not theirs', one, sends({ body: { model: 'sim', previous_response_id: 'resp_x' } }, 400)],
    ['more than the money pays for', one, sends({ body: { model: 'sim', input: 'x'.repeat(200_000) } }, 429)],
    ['nobody to ask', { ...one, accounts: [{ disabled: true }] }, sends({}, 503)],
    [
      'a line that is full',
      { user: { requestsPerMinute: 3, concurrency: 1 }, settings: { lineExtra: 0 } },
      async world => {
        world.sim.script({}, [{ hold: 'first' }, {}])
        const first = send(world)
        await world.sim.gate('first').reached()
        const second = send(world)
        await inLine(world, 1)
        for (let i = 0; i < 3; i++) expect((await send(world)).status).toBe(429)
        world.sim.open('first')
        await Promise.all([first, second])
      },
    ],
    [
      'a pool’s line that is full',
      { user: { requestsPerMinute: 3 }, settings: { poolWaitingMax: 1 }, accounts: [{ concurrency: 1 }] },
      async world => {
        world.sim.script({}, [{ hold: 'first' }, {}])
        const first = send(world)
        await world.sim.gate('first').reached()
        const second = send(world)
        await inPoolLine(world, 1)
        expect((await send(world)).error.message).toBe('Too many pending requests, please retry later')
        world.sim.open('first')
        await Promise.all([first, second])
      },
    ],
    [
      'a pool’s line that takes too long',
      { user: { requestsPerMinute: 2 }, settings: { lineTimeoutMs: 200 }, accounts: [{ concurrency: 1 }] },
      async world => {
        world.sim.script({}, [{ hold: 'first' }, {}])
        const first = send(world)
        await world.sim.gate('first').reached()
        expect((await send(world)).error.message).toBe('Concurrency limit exceeded for account, please retry later')
        world.sim.open('first')
        await first
      },
    ],
  ]

  test.for(rejections)('%s', async ([, options, reject]) => {
    await using world = await openWorld({ balance: '0.1', ...options })
    await reject(world)
    const account = world.accounts[0]!
    if (account.disabled) await world.changeAccount(account, { disabled: false })
    await ok(world)
    // That was the last: the rate is there, and none of it was lost.
    await over(world, overRate('user', `${options.user?.requestsPerMinute} requests`))
    await world.quiet()
  })
})

test('who leaves in the moment in which the slot is theirs has spent nothing', async () => {
  const entered = Promise.withResolvers<void>()
  let isFirst = true
  await using world = await openWorld({
    user: { requestsPerMinute: 1 },
    adapters: {
      wrapCoordinator: coordinator => ({
        ...coordinator,
        async enter(caller, waiter) {
          const slot = await coordinator.enter(caller, waiter)
          if (!isFirst) return slot
          isFirst = false
          entered.resolve()
          await once(waiter.signal, 'abort')
          return slot
        },
      }),
    },
  })
  const stream = openStream(world)
  stream.begun.catch(() => {}) // It leaves.
  await entered.promise
  stream.leave()
  await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
  await ok(world)
  await world.quiet()
})
