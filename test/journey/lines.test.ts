import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { changeKey, findKey } from '../../src/directory/keys.ts'
import { changeUser } from '../../src/directory/users.ts'
import { type Answer, openStream, refusalOf, send } from '../client.ts'
import { gauge, inLine, openWorld, until, type World } from '../world.ts'

/** SPEC 1.3: standing in line for a slot of one's own. Comments while waiting are in waiting.test.ts, rates in rates.test.ts. */

const lineFull = {
  status: 429,
  type: 'rate_limit_error',
  code: null,
  param: null,
  message: 'Too many pending requests, please retry later',
  retry: 'later',
}
const tooLong = { ...lineFull, message: 'Concurrency limit exceeded for user, please retry later' }
const badKey = {
  status: 401,
  type: 'authentication_error',
  code: 'invalid_api_key',
  param: null,
  message: 'Invalid API key',
  retry: 'never',
}

/** Calls with these inputs, one after the other: each has its place, in line or at the upstream, before the next one comes. */
async function arrive(world: World, inputs: readonly string[], key = world.key): Promise<Promise<Answer>[]> {
  const answers: Promise<Answer>[] = []
  for (const input of inputs) {
    const before = await places(world)
    answers.push(send(world, { key, body: { model: 'sim', input } }))
    await until(async () => (await places(world)) > before, `${input} found no place`)
  }
  return answers
}

/** In line, or at the upstream. */
async function places(world: World): Promise<number> {
  return (await gauge(world, 'headgate_calls_waiting')) + world.sim.attempts.length
}

/** Whose calls reached the upstream, in that order. */
function arrived({ sim }: World): string[] {
  return sim.attempts.map(({ body }) => JSON.parse(body.toString()).input)
}

/** Every call waits at a gate of its own, named for its place in the order of arrival at the upstream: 1, 2, … */
function holdEach(world: World, count: number): void {
  world.sim.script(
    {},
    Array.from({ length: count }, (_, i) => ({ hold: String(i + 1) })),
  )
}

const statuses = async (answers: readonly Promise<Answer>[]) => (await Promise.all(answers)).map(({ status }) => status)

test('so many calls of a user run at once, the others in the order in which they came', async () => {
  await using world = await openWorld({ user: { concurrency: 2 } })
  holdEach(world, 5)
  const answers = await arrive(world, ['a', 'b', 'c', 'd', 'e'])
  expect(arrived(world)).toEqual(['a', 'b'])
  expect(await gauge(world, 'headgate_calls_running')).toBe(2)
  world.sim.open('2')
  await world.sim.seen(3)
  world.sim.open('1')
  await world.sim.seen(4)
  expect(arrived(world)).toEqual(['a', 'b', 'c', 'd'])
  for (const gate of ['3', '4', '5']) world.sim.open(gate)
  expect(await statuses(answers)).toEqual([200, 200, 200, 200, 200])
  expect(arrived(world).at(-1)).toBe('e')
  await world.quiet()
})

test('a key may have a limit of its own, and being full it holds up none of the user’s other keys', async () => {
  await using world = await openWorld({ user: { concurrency: 3 } })
  const { secret: narrow } = await world.addKey(world.user, { concurrency: 1 })
  holdEach(world, 4)
  const first = await arrive(world, ['n1', 'n2'], narrow)
  const others = await arrive(world, ['w1', 'w2'])
  expect(arrived(world)).toEqual(['n1', 'w1', 'w2'])
  // The one that waits for its key has no slot of the user's meanwhile, and the user has none left for it.
  expect(await gauge(world, 'headgate_calls_running')).toBe(3)
  for (const gate of ['1', '2', '3', '4']) world.sim.open(gate)
  expect(await statuses([...first, ...others])).toEqual([200, 200, 200, 200])
  await world.quiet()
})

test('slots of key and user are taken together: whoever has only one of them has none', async () => {
  await using world = await openWorld({ user: { concurrency: 2 } })
  const { secret: narrow } = await world.addKey(world.user, { concurrency: 1 })
  holdEach(world, 5)
  const answers = [...(await arrive(world, ['n1', 'n2'], narrow)), ...(await arrive(world, ['w1', 'w2']))]
  expect(arrived(world)).toEqual(['n1', 'w1'])
  // A slot of the user's is free, the narrow key's is not: the younger call goes first.
  world.sim.open('2')
  await world.sim.seen(3)
  expect(arrived(world)).toEqual(['n1', 'w1', 'w2'])
  world.sim.open('1')
  await world.sim.seen(4)
  expect(arrived(world)).toEqual(['n1', 'w1', 'w2', 'n2'])
  for (const gate of ['3', '4']) world.sim.open(gate)
  expect(await statuses(answers)).toEqual([200, 200, 200, 200])
  await world.quiet()
})

describe('how many may wait', () => {
  test.for([
    { user: 1, key: null, waiting: 21 },
    { user: 2, key: null, waiting: 22 },
    { user: 3, key: 1, waiting: 23 },
    { user: 0, key: 2, waiting: 22 },
  ])('with limits %j, and then the line is full', async ({ user, key, waiting }) => {
    await using world = await openWorld({ user: { concurrency: user }, keyDraft: { concurrency: key } })
    world.sim.script({}, { hold: 'all' })
    const running = key ?? user
    const answers = Array.from({ length: running + waiting }, () => send(world))
    await inLine(world, waiting)
    expect(refusalOf(await send(world))).toEqual(lineFull)
    world.sim.open('all')
    expect(new Set(await statuses(answers))).toEqual(new Set([200]))
    expect((await world.rows()).filter(({ fault }) => fault !== null)).toMatchObject([
      { fault: 'line_full', status: 429n, requested_model: 'sim', attempts: 0n, cost: 0n, held: 0n },
    ])
    await world.quiet()
  })

  test('one user’s line is nobody else’s', async () => {
    await using world = await openWorld({ user: { concurrency: 1 }, settings: { lineExtra: 0 } })
    const { secret } = await world.addKey(await world.addUser({ concurrency: 1 }))
    holdEach(world, 2)
    const mine = await arrive(world, ['a', 'b'])
    world.sim.open('2')
    expect((await send(world, { key: secret })).status).toBe(200)
    world.sim.open('1')
    expect(await statuses(mine)).toEqual([200, 200])
    await world.quiet()
  })
})

test.for([0, -1])('a limit of %i is none', async concurrency => {
  await using world = await openWorld({ user: { concurrency }, keyDraft: { concurrency }, accounts: [{ concurrency }] })
  world.sim.script({}, { hold: 'all' })
  const answers = Array.from({ length: 30 }, () => send(world))
  await world.sim.gate('all').reached(30)
  world.sim.open('all')
  expect(new Set(await statuses(answers))).toEqual(new Set([200]))
  await world.quiet()
})

test('who has waited too long is told to come again, and the line moves on without them', async () => {
  await using world = await openWorld({ user: { concurrency: 1 }, settings: { lineTimeoutMs: 300 } })
  holdEach(world, 2)
  const first = send(world)
  await world.sim.gate('1').reached()
  expect(refusalOf(await send(world))).toEqual(tooLong)
  const next = send(world)
  await inLine(world, 1)
  world.sim.open('1')
  world.sim.open('2')
  expect(await statuses([first, next])).toEqual([200, 200])
  const [refused] = (await world.rows()).filter(({ fault }) => fault !== null)
  expect(refused).toMatchObject({
    fault: 'line_timeout_user',
    status: 429n,
    ended: 'refused',
    requested_model: 'sim',
    attempts: 0n,
    cost: 0n,
  })
  expect(refused!.line_ms).toBeGreaterThanOrEqual(300n)
  await world.quiet()
})

describe('limits that change while calls wait', () => {
  test.for([3, 0])('a user’s limit that is raised to %i moves the line at once', async concurrency => {
    await using world = await openWorld({ user: { concurrency: 1 } })
    world.sim.script({}, { hold: 'all' })
    const answers = await arrive(world, ['a', 'b', 'c'])
    expect(arrived(world)).toEqual(['a'])
    await world.commit(changeUser({ ...world.user, concurrency }))
    await world.sim.gate('all').reached(3)
    world.sim.open('all')
    expect(await statuses(answers)).toEqual([200, 200, 200])
    await world.quiet()
  })

  test('so does a key’s', async () => {
    await using world = await openWorld()
    const { id, secret } = await world.addKey(world.user, { concurrency: 1 })
    world.sim.script({}, { hold: 'all' })
    const answers = await arrive(world, ['a', 'b'], secret)
    await world.commit(changeKey({ ...(await findKey(world.database, id))!, concurrency: null }))
    await world.sim.gate('all').reached(2)
    world.sim.open('all')
    expect(await statuses(answers)).toEqual([200, 200])
    await world.quiet()
  })

  test('a limit that is lowered binds new slots only', async () => {
    await using world = await openWorld({ user: { concurrency: 2 } })
    holdEach(world, 3)
    const answers = await arrive(world, ['a', 'b', 'c'])
    await world.commit(changeUser({ ...world.user, concurrency: 1 }))
    // Those in line are looked up anew; an answer may be faster than that.
    await world.headgate.gateway.directory.principalOf(world.key)
    await setImmediate()
    world.sim.open('1')
    await answers[0]
    expect(await gauge(world, 'headgate_calls_waiting')).toBe(1)
    expect(arrived(world)).toEqual(['a', 'b'])
    world.sim.open('2')
    world.sim.open('3')
    expect(await statuses(answers)).toEqual([200, 200, 200])
    await world.quiet()
  })
})

describe('clients that leave', () => {
  test('in line give up their place', async () => {
    await using world = await openWorld({ user: { concurrency: 1 } })
    holdEach(world, 2)
    const [first] = await arrive(world, ['a'])
    await using leaving = openStream(world, { body: { input: 'b' } })
    await inLine(world, 1)
    const last = send(world, { body: { model: 'sim', input: 'c' } })
    await inLine(world, 2)
    leaving.leave()
    await inLine(world, 1)
    world.sim.open('1')
    world.sim.open('2')
    expect(await statuses([first!, last])).toEqual([200, 200])
    expect(arrived(world)).toEqual(['a', 'c'])
    await until(async () => (await world.rows()).length === 3, 'there are not three rows')
    expect((await world.rows()).find(({ fault }) => fault !== null)).toMatchObject({
      fault: 'client_left',
      ended: 'client_left',
      status: 499n,
      stream: 1n,
      requested_model: 'sim',
      attempts: 0n,
      cost: 0n,
      held: 0n,
    })
    await world.quiet()
  })

  test('while their call runs give back their slot, though the upstream is still read', async () => {
    await using world = await openWorld({ user: { concurrency: 1 } })
    holdEach(world, 2)
    await using leaving = openStream(world, { body: { input: 'a' } })
    await world.sim.gate('1').reached()
    const next = send(world, { body: { model: 'sim', input: 'b' } })
    await inLine(world, 1)
    leaving.leave()
    await world.sim.gate('2').reached()
    expect(arrived(world)).toEqual(['a', 'b'])
    world.sim.open('1')
    world.sim.open('2')
    expect((await next).status).toBe(200)
    await world.quiet()
  })

  test('before they are heard leave nothing behind', async () => {
    await using world = await openWorld({ user: { concurrency: 1 } })
    world.sim.script({}, { hold: 'first' })
    const first = send(world)
    await world.sim.gate('first').reached()
    const leaving = Array.from({ length: 10 }, () => openStream(world))
    await inLine(world, 10)
    for (const stream of leaving) stream.leave()
    await inLine(world, 0)
    world.sim.open('first')
    expect((await first).status).toBe(200)
    expect(world.sim.attempts).toHaveLength(1)
    await world.quiet()
  })
})

describe('a key that stops working while its call waits', () => {
  const changes: readonly [string, (world: World, keyId: string) => Promise<void>][] = [
    ['it is disabled', async (world, id) => world.commit(changeKey({ ...(await findKey(world.database, id))!, disabled: true }))],
    ['its user is disabled', world => world.commit(changeUser({ ...world.user, disabled: true }))],
  ]

  test.for(changes)('is refused at once, whoever is before it in line: %s', async ([, change]) => {
    await using world = await openWorld({ user: { concurrency: 1 } })
    const { id, secret } = await world.addKey(world.user)
    world.sim.script({}, { hold: 'first' })
    const first = send(world)
    await world.sim.gate('first').reached()
    const waiting = send(world, { key: secret })
    await inLine(world, 1)
    await change(world, id)
    expect(refusalOf(await waiting)).toEqual(badKey)
    expect(await gauge(world, 'headgate_calls_running')).toBe(1)
    world.sim.open('first')
    expect((await first).status).toBe(200)
    expect((await world.rows()).find(({ fault }) => fault !== null)).toMatchObject({ fault: 'key_invalid', status: 401n, attempts: 0n })
    await world.quiet()
  })

  test('is refused when its turn comes, if nobody heard of it before', async () => {
    await using world = await openWorld({ user: { concurrency: 1 } })
    const { secret } = await world.addKey(world.user, { expiresAtMs: Date.now() + 500 })
    world.sim.script({}, { hold: 'first' })
    const first = send(world)
    await world.sim.gate('first').reached()
    const waiting = send(world, { key: secret })
    await inLine(world, 1)
    await until(async () => (await send(world, { key: secret, method: 'POST', body: '' })).status === 401, 'the key does not expire')
    world.sim.open('first')
    expect(refusalOf(await waiting)).toEqual(badKey)
    expect((await first).status).toBe(200)
    expect(world.sim.attempts).toHaveLength(1)
    await world.quiet()
  })
})
