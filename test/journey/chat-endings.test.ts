import { describe, expect, test } from 'vitest'
import type { Script } from '../../sim/script.ts'
import { parseUsd } from '../../src/ledger/money.ts'
import { type Json, refusalOf, send } from '../client.ts'
import { openWorld, simPrice, until, type World, type WorldOptions } from '../world.ts'
import { callsSince, markCalls } from './books.ts'
import { complete, expectBilled, heardOf, openChat } from './chatting.ts'

/** Chat completions that go wrong: what the client hears, who is asked instead, and what is charged. */

const impatient = { jsonHeadersTimeoutMs: 700, firstEventTimeoutMs: 700, betweenBytesTimeoutMs: 700 }
const two: WorldOptions = { accounts: [{ priority: 1 }, { priority: 2 }], settings: impatient }
const usageTold: Script = { end: 'cut', afterEvents: 99, serviceTier: 'default' }

const attemptsOf = async (world: World) =>
  (await world.attempts()).map(({ status, fault }) => [status, fault].filter(each => each !== null))

describe('before the first chunk another account takes over', () => {
  test.for<[string, Script]>([
    ['500', { status: 500 }],
    ['429', { status: 429 }],
    ['401', { status: 401 }],
    ['a reset', { end: 'reset', noHeaders: true }],
    ['no headers in time', { end: 'stall', noHeaders: true }],
    ['a stream that ends at once', { end: 'eof', afterEvents: 0 }],
    ['an error as the first chunk', { end: 'error', afterEvents: 0 }],
  ])('after %s', async ([, script]) => {
    await using world = await openWorld(two)
    await markCalls(world)
    world.sim.script({ key: 'up-a1' }, script)
    await using stream = openChat(world)
    expect(heardOf(await stream.rest())).toMatchObject({ isDone: true, error: undefined, choices: [{ finish: 'stop' }] })
    expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a1', 'up-a2'])
    await expectBilled(world, { basis: 'reported', ended: 'completed' })
  })

  test('and a whole answer that is cut midway is asked for elsewhere', async () => {
    await using world = await openWorld(two)
    await markCalls(world)
    world.sim.script({ key: 'up-a1' }, { end: 'cut' })
    const { status, json } = await complete(world)
    expect([status, (json.choices as Json[])[0]?.finish_reason]).toEqual([200, 'stop'])
    await expectBilled(world, { basis: 'reported', ended: 'completed' })
  })
})

describe('a stream that has begun and breaks never looks complete', () => {
  const ours = {
    message: 'The upstream ended the answer before it was complete',
    type: 'server_error',
    param: null,
    code: 'server_error',
  }

  test.for<[string, Script, string, object]>([
    ['cut after some chunks', { end: 'cut', afterEvents: 3 }, 'stream_cut', ours],
    ['cut within a chunk', { end: 'cut', afterBytes: 700 }, 'stream_cut', ours],
    ['ended without the marker', { end: 'eof' }, 'stream_unended', ours],
    ['ended after some chunks', { end: 'eof', afterEvents: 3 }, 'stream_unended', ours],
    ['stalled', { end: 'stall', afterEvents: 3 }, 'stream_stalled', ours],
    ['ended by an error chunk', { end: 'error', afterEvents: 3 }, 'stream_unended', { code: 'server_error' }],
  ])('%s', async ([, script, fault, error]) => {
    await using world = await openWorld(two)
    world.sim.script({}, script)
    await using stream = openChat(world)
    const events = await stream.rest()
    const heard = heardOf(events)
    expect(heard.error).toMatchObject(error)
    expect(heard.isDone).toBe(false)
    expect(events.filter(({ data }) => 'error' in data)).toHaveLength(1)
    expect(events.at(-1)?.data).toHaveProperty('error')
    await world.quiet()
    expect(await attemptsOf(world)).toEqual([[200n, fault]])
    const [row] = await world.rows()
    expect(row).toMatchObject({ ended: 'cut', basis: 'estimated', fault })
    expect(row?.cost).toBeGreaterThan(0n)
  })

  test('by an error chunk and the marker behind it: only the error is passed on', async () => {
    const chunk = { id: 'c', object: 'chat.completion.chunk', model: 'sim', choices: [{ index: 0, delta: { content: 'Wat' } }] }
    const error = { message: 'Out of memory', type: 'server_error', param: null, code: 'server_error' }
    const rawBody = [JSON.stringify(chunk), JSON.stringify({ error }), '[DONE]'].map(data => `data: ${data}\n\n`).join('')
    await using world = await openWorld()
    world.sim.script({}, { rawBody, headers: { 'content-type': 'text/event-stream' } })
    await using stream = openChat(world)
    await stream.rest()
    expect(stream.text).toBe(rawBody.replace('data: [DONE]\n\n', ''))
    await world.quiet()
    expect(await world.rows()).toMatchObject([{ ended: 'cut', fault: 'stream_unended' }])
  })

  test('not even when its usage was told: that is billed, and at the tier that was told with it', async () => {
    await using world = await openWorld({
      ...two,
      charges: { ...simPrice, tiers: { priority: { input: '99', output: '99' } } },
      prices: [{}, { tier: 'priority', input: parseUsd('99'), output: parseUsd('99') }],
    })
    await markCalls(world)
    world.sim.script({}, usageTold)
    await using stream = openChat(world, { service_tier: 'priority', stream_options: { include_usage: true } })
    const heard = heardOf(await stream.rest())
    expect(heard).toMatchObject({ error: ours, isDone: false, choices: [{ finish: 'stop' }] })
    expect(heard.usages.at(-1)).toMatchObject({ completion_tokens: world.sim.invoice[0]!.usage.outputTokens })
    const row = await expectBilled(world, { basis: 'reported', ended: 'cut' })
    expect(row).toMatchObject({ tier: 'default', fault: 'stream_cut' })
  })
})

describe('the client leaves', () => {
  test.for<[string, boolean, Script]>([
    ['before the headers', true, { hold: 'gate' }],
    ['before the headers of a whole answer', false, { hold: 'gate' }],
    ['before the first chunk', true, { hold: { gate: 'gate', at: 'firstEvent' } }],
    ['in the middle', true, { hold: { gate: 'gate', at: 3 } }],
    ['when only the usage is to come', true, { hold: { gate: 'gate', at: 6 } }],
  ])('%s: the rest is read, and billed by the invoice', async ([, stream, script]) => {
    await using world = await openWorld()
    await markCalls(world)
    world.sim.script({}, script)
    const open = openChat(world, { stream })
    open.begun.catch(() => {}) // It leaves.
    await world.sim.gate('gate').reached()
    open.leave()
    await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
    world.sim.open('gate')
    await expectBilled(world, { basis: 'drained', ended: 'client_left' })
  })

  test('right after the marker, which is no leaving', async () => {
    await using world = await openWorld()
    await markCalls(world)
    world.sim.script({}, { linger: 60_000 })
    const open = openChat(world)
    await open.until('done')
    open.leave()
    await expectBilled(world, { basis: 'reported', ended: 'completed' })
  })
})

describe('a refusal', () => {
  test.for([false, true])('of the upstream’s is relayed word for word (stream: %s)', async stream => {
    await using world = await openWorld(two)
    world.sim.script({}, { status: 400, error: { message: 'Too long: “größe”.', code: 'context_length_exceeded', param: 'messages' } })
    const { status, error } = await complete(world, { stream })
    expect(status).toBe(400)
    expect(error).toEqual({
      ...{ message: 'Too long: “größe”.', type: 'invalid_request_error', code: 'context_length_exceeded', param: 'messages' },
    })
    await world.quiet()
    expect(await world.rows()).toMatchObject([{ ended: 'refused', basis: 'none', cost: 0n, attempts: 1n }])
  })

  test('when nobody is left says what the last upstream said', async () => {
    await using world = await openWorld()
    world.sim.script({}, { status: 429, headers: { 'retry-after': '7' } })
    expect(refusalOf(await complete(world, { stream: true }))).toMatchObject({
      ...{ status: 429, type: 'rate_limit_error', message: 'Upstream rate limit exceeded, please retry later', retry: 'later' },
    })
    await world.quiet()
  })

  test('after waiting comments is one error chunk, and no marker', async () => {
    await using world = await openWorld({
      settings: { waitingCommentMs: 20, lineTimeoutMs: 100 },
      user: { concurrency: 1 },
    })
    world.sim.script({}, [{ hold: 'first' }, {}])
    const first = send(world)
    await world.sim.gate('first').reached()
    await using stream = openChat(world)
    const events = await stream.rest()
    expect((await stream.begun).status).toBe(200)
    expect(events[0]?.type).toBe('comment')
    const [error, ...more] = events.filter(({ type }) => type !== 'comment')
    expect(error?.data).toEqual({
      error: {
        message: 'Concurrency limit exceeded for user, please retry later. Please try again in 5 s.',
        ...{ type: 'rate_limit_error', param: null, code: null },
      },
    })
    expect(more).toEqual([])
    world.sim.open('first')
    expect((await first).status).toBe(200)
    await world.quiet()
  })

  test('of the upstream’s after waiting comments is told in the stream, in its own words', async () => {
    await using world = await openWorld({ settings: { attemptCommentMs: 20 } })
    world.sim.script({}, { status: 400, hold: 'held' })
    await using stream = openChat(world)
    expect(await stream.next()).toMatchObject({ type: 'comment' })
    world.sim.open('held')
    const heard = heardOf(await stream.rest())
    expect(heard.error).toEqual({ message: 'Invalid request.', type: 'invalid_request_error', param: null, code: null })
    expect(heard.isDone).toBe(false)
    await world.quiet()
  })

  test('and a whole answer that comes instead of a stream, after comments, is told as chunks', async () => {
    await using world = await openWorld({ settings: { attemptCommentMs: 20 } })
    await markCalls(world)
    const message = { role: 'assistant', content: 'Whole.' }
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
    const choices = [{ index: 0, message, finish_reason: 'stop' }]
    world.sim.script({}, { hold: 'held', rawBody: JSON.stringify({ id: 'c', object: 'chat.completion', model: 'sim', choices, usage }) })
    await using stream = openChat(world)
    expect(await stream.next()).toMatchObject({ type: 'comment' })
    world.sim.open('held')
    const heard = heardOf(await stream.rest())
    expect(heard).toMatchObject({ isDone: true, choices: [{ text: 'Whole.', finish: 'stop' }], usages: [] })
    await world.quiet()
    expect(await callsSince(world)).toMatchObject([{ basis: 'reported', cost: 3n * 2_000n + 2n * 10_000n }])
  })
})
