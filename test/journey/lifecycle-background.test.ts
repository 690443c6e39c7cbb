import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import type { Adapters } from '../../src/headgate.ts'
import { statement } from '../../src/storage/database.ts'
import { openStream, refusalOf, send } from '../client.ts'
import { gauge, openWorld, until, type World } from '../world.ts'

/** SPEC 3: `background: true`. The scripted upstream's invoice says what each response cost in the end. */

const quickly = { backgroundPollMs: 5, backgroundPollMaxMs: 20 }
/** The gateway itself never asks: what happens does so because a client asked. */
const never = { backgroundPollMs: 3_600_000, backgroundPollMaxMs: 3_600_000 }

function sdk({ url, key }: Pick<World, 'url' | 'key'>): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
}

const asked = { model: 'sim', input: 'Think it over.', background: true } as const
const waits = { hold: { gate: 'work', at: 3 } } as const

function settled(world: World): Promise<void> {
  return until(async () => (await gauge(world, 'headgate_background_pending')) === 0, 'it is never settled')
}

/** The one call that made a response, as the books have it. */
async function made(world: World) {
  const rows = (await world.rows()).filter(({ path }) => path === '/v1/responses')
  expect(rows).toHaveLength(1)
  return rows[0]!
}

/** Charged once, for what the upstream asks. */
async function expectBilled(world: World, balance: bigint, what: object = { ended: 'completed', basis: 'reported' }): Promise<void> {
  await settled(world)
  await world.sim.idle()
  const { costNanos } = world.sim.invoice[0]!
  expect(world.sim.invoice).toHaveLength(1)
  expect(await made(world)).toMatchObject({ status: 200n, cost: costNanos, uncollected: 0n, ...what })
  expect(await world.balance()).toEqual({ balance: balance - costNanos, held: 0n })
  await world.quiet()
}

describe('a response in the background', () => {
  test('is told at once, gives back its slots, keeps its money aside, and is charged when it is over', async () => {
    await using world = await openWorld({ settings: quickly, user: { concurrency: 1 }, accounts: [{ concurrency: 1 }] })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, waits)
    const response = await sdk(world).responses.create(asked)
    expect(response.status).toBe('queued')
    expect(await made(world)).toMatchObject({ ended: 'running', basis: 'pending', cost: 0n, attempts: 1n })
    expect((await world.balance()).held).toBeGreaterThan(0n)
    await until(async () => (await gauge(world, 'headgate_calls_running')) === 0, 'the user’s slot is not given back')
    expect(await gauge(world, 'headgate_account_slots_taken')).toBe(0)
    expect(await gauge(world, 'headgate_background_pending')).toBe(1)
    world.sim.open('work')
    await expectBilled(world, balance)
    const owner = await world.headgate.gateway.owners.ownerOf(response.id)
    expect(owner!.contextTokens).toBe(Number((await made(world)).input_tokens) + Number((await made(world)).output_tokens))
  })

  test('retrieved a hundred times it is charged once', async () => {
    await using world = await openWorld({ settings: quickly })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, waits)
    const { responses } = sdk(world)
    const { id } = await responses.create(asked)
    for (let n = 0; n < 50; n++) await responses.retrieve(id)
    world.sim.open('work')
    for (let n = 0; n < 50; n++) await responses.retrieve(id)
    await expectBilled(world, balance)
    expect((await world.rows()).filter(({ basis }) => basis === 'none')).toHaveLength(100)
  })

  test('is on the books before a client sees that it is complete', async () => {
    await using world = await openWorld({ settings: never })
    const { balance } = await world.balance()
    const { responses } = sdk(world)
    const { id } = await responses.create(asked)
    await world.sim.idle()
    const seen = await until200(() => responses.retrieve(id))
    expect(seen.status).toBe('completed')
    expect(await made(world)).toMatchObject({ ended: 'completed', basis: 'reported' })
    await expectBilled(world, balance)
  })

  test('cancelled by the client it is charged for what was made until then', async () => {
    await using world = await openWorld({ settings: quickly })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, { ...waits, hold: { gate: 'work', at: 5 } })
    const { responses } = sdk(world)
    const { id } = await responses.create(asked)
    await world.sim.gate('work').reached()
    expect((await responses.cancel(id)).status).toBe('cancelled')
    expect(await made(world)).toMatchObject({ ended: 'cancelled' })
    await expectBilled(world, balance, { ended: 'cancelled' })
  })

  test('deleted while it runs it is cancelled first, so that what was made is charged', async () => {
    await using world = await openWorld({ settings: never })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, { hold: { gate: 'work', at: 5 } })
    const { responses } = sdk(world)
    const { id } = await responses.create(asked)
    await world.sim.gate('work').reached()
    await responses.delete(id)
    await expectBilled(world, balance, { ended: 'cancelled' })
  })

  test('that cannot be cancelled is not deleted, so that what it uses is charged', async () => {
    await using world = await openWorld({ settings: never })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, { hold: { gate: 'work', at: 5 } })
    world.sim.script({ route: 'cancel' }, { status: 500 })
    const { responses } = sdk(world)
    const { id } = await responses.create(asked)
    await world.sim.gate('work').reached()
    expect(refusalOf(await send(world, { method: 'DELETE', path: `/v1/responses/${id}`, body: '' }))).toMatchObject({
      status: 409,
      message: 'The response still runs and could not be cancelled, so what it uses is not known yet: please delete it later',
    })
    expect(await responses.retrieve(id)).toMatchObject({ status: 'in_progress' })
    world.sim.open('work')
    await until(async () => (await responses.retrieve(id)).status === 'completed', 'it is not over')
    await responses.delete(id)
    await expectBilled(world, balance)
  })

  test.each([
    [{ end: 'failed', afterEvents: 4 }, 'failed'],
    [{ end: 'incomplete', afterEvents: 4 }, 'incomplete'],
  ] as const)('that ends otherwise, %j, is settled too', async (script, ended) => {
    await using world = await openWorld({ settings: quickly })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, script)
    await sdk(world).responses.create(asked)
    await expectBilled(world, balance, { ended })
  })

  test('an upstream that fails to tell is asked again', async () => {
    await using world = await openWorld({ settings: quickly })
    const { balance } = await world.balance()
    world.sim.script({ route: 'retrieve' }, [
      { status: 500 },
      { status: 401 },
      { rawBody: 'no JSON' },
      { end: 'reset', noHeaders: true },
      {},
    ])
    await sdk(world).responses.create(asked)
    await expectBilled(world, balance)
    const [condition] = await world.conditions()
    expect(condition).toMatchObject({ failures: 0, restingUntilMs: 0 })
  })

  test('that its account does not know any more is given up, and its row says so', async () => {
    await using world = await openWorld({ settings: quickly })
    const before = await world.balance()
    world.sim.script({ route: 'retrieve' }, { status: 404, error: { code: null, message: 'Response not found.' } })
    await sdk(world).responses.create(asked)
    await settled(world)
    expect(await made(world)).toMatchObject({ ended: 'cut', basis: 'none', fault: 'background_lost', cost: 0n })
    expect(await world.balance()).toEqual(before)
    await world.quiet()
  })

  test('that takes too long is given up as well', async () => {
    await using world = await openWorld({ settings: { ...quickly, backgroundMaxMs: 50 } })
    world.sim.script({ route: 'responses' }, waits)
    await sdk(world).responses.create(asked)
    await settled(world)
    expect(await made(world)).toMatchObject({ ended: 'cut', basis: 'none', fault: 'background_lost', cost: 0n })
    await world.quiet()
  })

  test('needs an account that can, and money as any call', async () => {
    await using world = await openWorld({ balance: '0' })
    expect(refusalOf(await send(world, { body: asked }))).toMatchObject({ status: 429, code: 'insufficient_quota' })
    const [account] = world.accounts
    for (const lacking of [{ background: false }, { stateful: false }]) {
      await world.changeAccount(account!, { capabilities: { ...account!.capabilities, ...lacking } })
      expect(refusalOf(await send(world, { body: asked }))).toMatchObject({
        status: 503,
        message: 'No available accounts: a1 runs nothing in the background',
      })
    }
    expect(world.sim.attempts).toEqual([])
    await world.quiet()
  })

  test('under an alias it is told, and priced, like any other', async () => {
    await using world = await openWorld({ settings: quickly, accounts: [{ models: { alias: 'sim' } }] })
    const { balance } = await world.balance()
    const { responses } = sdk(world)
    const response = await responses.create({ ...asked, model: 'alias' })
    expect(response.model).toBe('alias')
    await expectBilled(world, balance)
    expect((await responses.retrieve(response.id)).model).toBe('alias')
  })
})

describe('as a stream', () => {
  test('its events pass, and its end settles it once', async () => {
    await using world = await openWorld({ settings: never })
    const { balance } = await world.balance()
    await using stream = openStream(world, { body: asked })
    const events = (await stream.rest()).map(({ type }) => type)
    expect(events[0]).toBe('response.created')
    expect(events.at(-1)).toBe('response.completed')
    await expectBilled(world, balance)
  })

  test('a client that leaves leaves it to the gateway to ask', async () => {
    await using world = await openWorld({ settings: quickly })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, waits)
    await using stream = openStream(world, { body: asked })
    await stream.until('response.in_progress')
    stream.leave()
    await until(() => world.headgate.serving.calls.count === 0 && world.headgate.gateway.live.size === 0, 'the connection is kept')
    expect(await made(world)).toMatchObject({ basis: 'pending' })
    world.sim.open('work')
    await expectBilled(world, balance)
  })

  test('when its upstream breaks off, the client’s connection does too, the rest can be taken up, and it is charged once', async () => {
    await using world = await openWorld({ settings: quickly })
    const { balance } = await world.balance()
    world.sim.script({ route: 'responses' }, { end: 'cut', afterEvents: 4 })
    await using stream = openStream(world, { body: asked })
    const first = await stream.until('response.created')
    await expect(stream.rest()).rejects.toThrow()
    expect(stream.text).not.toContain('response.failed')
    const { responses } = sdk(world)
    const rest = await responses.retrieve(String(first.response.id), { stream: true, starting_after: 3 })
    const numbers: number[] = []
    let last = ''
    for await (const event of rest) {
      numbers.push(event.sequence_number as number)
      last = event.type
    }
    expect(numbers[0]).toBe(4)
    expect(numbers).toEqual(numbers.map((_, n) => n + 4))
    expect(last).toBe('response.completed')
    await expectBilled(world, balance)
  })

  test('one taken up that breaks off is cut, and made up for by nobody', async () => {
    await using world = await openWorld({ settings: quickly })
    const { id } = await sdk(world).responses.create(asked)
    await settled(world)
    world.sim.script({ route: 'retrieve' }, { end: 'cut', afterEvents: 3 })
    await using stream = openStream(world, { method: 'GET', path: `/v1/responses/${id}?stream=true` })
    await expect(stream.rest()).rejects.toThrow()
    expect(stream.text).not.toContain('response.failed')
    expect((await world.rows()).at(-1)).toMatchObject({ ended: 'cut', basis: 'none', cost: 0n })
    await world.quiet()
  })
})

/** The response as it is once it is over. */
async function until200<Response extends { status?: string | undefined }>(ask: () => Promise<Response>): Promise<Response> {
  let seen = await ask()
  await until(async () => {
    seen = await ask()
    return seen.status === 'completed'
  }, 'it is never completed')
  return seen
}

test.each([[false], [true]])('nothing of it is told before the books know whose it is (as a stream: %s)', async stream => {
  const held = heldBooks()
  await using world = await openWorld({ settings: { ...quickly, settleWithinMs: 60_000 }, adapters: held.adapters })
  using _ = { [Symbol.dispose]: () => held.letGo() } // Else a failure would wait for ever to stop.
  let heard = ''
  const telling = openStream(world, { body: { ...asked, stream } })
  const begun = telling.begun.then(() => (heard = 'headers'))
  await held.reached
  // Whoever comes later is answered meanwhile: what was to be told had time enough.
  for (let n = 0; n < 3; n++) expect((await send(world, { method: 'GET', path: '/v1/models' })).status).toBe(200)
  expect(telling.text).toBe('')
  // Of a stream the headers may be there, because comments would be.
  if (!stream) expect(heard).toBe('')
  expect(await world.database.report(statement('select id from owners'))).toEqual([])
  held.letGo()
  await begun
  await telling.rest()
  const [id] = /resp_\w+/.exec(telling.text)!
  expect(await world.headgate.gateway.owners.ownerOf(id)).toMatchObject({ userId: world.user.id })
  await settled(world)
  await world.quiet()
})

/** Books that keep what begins in the background waiting. */
function heldBooks() {
  const reached = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  const adapters: Adapters = {
    wrapDatabase: database => ({
      ...database,
      async commit(...asked) {
        if (asked[0].some(({ statement: { sql } }) => sql.startsWith('insert into background'))) {
          reached.resolve()
          await go.promise
        }
        return database.commit(...asked)
      },
    }),
  }
  return { adapters, reached: reached.promise, letGo: () => go.resolve() }
}
