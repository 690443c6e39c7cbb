import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'
import { expect, test } from 'vitest'
import { openHearing } from '../../sim/hear-socket.ts'
import { changeKey } from '../../src/directory/keys.ts'
import { gauge, until } from '../world.ts'
import { create, errorOf, expectBooks, openSocketWorld, response, steer } from './sockets.ts'

/** `GET /v1/responses` as a WebSocket: each response is a call of its own, with a hold, a row and a bill. docs/websocket.md */

test('the client of npm openai is given a stream, one event a message, and billed before its end', async () => {
  await using world = await openSocketWorld()
  world.sim.script({}, { text: 'Hello there', reasoning: 4 })
  const ws = new ResponsesWS(new OpenAI({ apiKey: world.key, baseURL: `${world.url}/v1` }))
  const types: string[] = []
  let rowsAtEnd = 0
  for await (const event of ws.stream()) {
    if (event.type === 'open') ws.send({ type: 'response.create', model: 'sim', input: 'hi', store: false })
    if (event.type !== 'message') continue
    types.push(event.message.type)
    if (event.message.type !== 'response.completed') continue
    rowsAtEnd = (await world.rows()).length
    ws.close()
  }

  expect(types.slice(0, 3)).toEqual(['response.created', 'response.in_progress', 'response.output_item.added'])
  expect(types.at(-1)).toBe('response.completed')
  expect(rowsAtEnd).toBe(1)
  expect(world.sim.attempts.map(({ key, method }) => [key, method])).toEqual([
    ['up-a1', 'GET'],
    ['up-a1', 'MESSAGE'],
  ])
  await expectBooks(world, ['reported'])
})

test('a socket takes no slot, and what it remembers can be gone on from: a warm-up, then a response', async () => {
  await using world = await openSocketWorld({ user: { concurrency: 1 } })
  const hearing = await openHearing(world, world.key)
  expect([await gauge(world, 'headgate_sockets'), await gauge(world, 'headgate_calls_running')]).toEqual([1, 0])
  hearing.say(create({ generate: false, store: false, input: 'x'.repeat(400) }))
  const warm = response(await hearing.untilType('response.completed'))
  hearing.say(create({ store: false, previous_response_id: warm.id }))
  const next = response(await hearing.untilType('response.completed', 2))

  expect(warm).toMatchObject({ output: [], usage: { output_tokens: 0 } })
  expect(next.usage.input_tokens).toBe(102)
  hearing.close()
  await expectBooks(world, ['reported', 'reported'])
  await until(async () => (await gauge(world, 'headgate_sockets')) === 0, 'the socket is not forgotten')
})

test('lanes do not wait for each other, and within one calls follow one another', async () => {
  await using world = await openSocketWorld({ prices: [{}, { model: 'slow' }] })
  const hearing = await openHearing(world, world.key)
  hearing.say(create())
  await hearing.untilType('response.completed')
  world.sim.script({ model: 'slow' }, { hold: { gate: 'weir', at: 3 } })
  hearing.say(create({ model: 'slow', stream_id: 'a' }))
  hearing.say(create({ stream_id: 'a' }))
  hearing.say(create({ stream_id: 'b' }))
  await hearing.until(message => message.type === 'response.completed' && message.stream_id === 'b')
  expect(hearing.messages.some(message => message.type === 'response.completed' && message.stream_id === 'a')).toBe(false)
  world.sim.open('weir')
  await hearing.untilType('response.completed', 4)

  const ofA = hearing.messages.filter(message => message.type === 'response.completed' && message.stream_id === 'a')
  expect(ofA.map(message => response(message).model)).toEqual(['slow', 'sim'])
  expect(world.sim.attempts.filter(({ method }) => method === 'GET')).toHaveLength(1)
  hearing.close()
  await world.quiet()
  expect((await world.rows()).map(({ basis }) => basis)).toEqual(Array(4).fill('reported'))
})

test('a steered response and its successor are billed once each', async () => {
  await using world = await openSocketWorld({ user: { concurrency: 1 }, accounts: [{ concurrency: 1 }] })
  world.sim.script({}, [
    { reasoning: 10, text: 'never said', hold: { gate: 'weir', at: 5 } },
    { text: 'as you wish', hold: { gate: 'second', at: 3 } },
  ])
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ stream_id: 'a', store: false, max_output_tokens: 1000 }))
  const { id } = response(await hearing.untilType('response.created'))
  await world.sim.gate('weir').reached()
  hearing.say(steer(id))
  hearing.say(steer(id, 'and wait longer'))
  const accepted = await hearing.untilType('response.steer.accepted', 2)
  world.sim.open('weir')
  const ended = await hearing.untilType('response.incomplete')
  await hearing.untilType('response.created', 2)
  // It runs in the places of the one before it.
  expect([await gauge(world, 'headgate_calls_running'), await gauge(world, 'headgate_account_slots_taken')]).toEqual([1, 1])
  world.sim.open('second')
  const second = response(await hearing.untilType('response.completed'))

  expect(accepted).toMatchObject({ stream_id: 'a', sequence_number: 6, steer: { previous_response_id: id } })
  expect(second).toMatchObject({ previous_response_id: id })
  expect(hearing.messages.indexOf(ended)).toBeLessThan(hearing.messages.findLastIndex(({ type }) => type === 'response.created'))
  hearing.close()
  await expectBooks(world, ['reported', 'reported'])
  expect((await world.rows()).map(({ ended, attempts }) => [ended, attempts])).toEqual([
    ['incomplete', 1n],
    ['completed', 1n],
  ])
})

test('a successor that the upstream leaves to its client gives its hold back', async () => {
  await using world = await openSocketWorld()
  world.sim.script({}, [{ toolCall: { name: 'look', arguments: '{}' }, hold: { gate: 'weir', at: 3 } }, { text: 'seen' }])
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ max_output_tokens: 1000 }))
  const { id } = response(await hearing.untilType('response.created'))
  await world.sim.gate('weir').reached()
  hearing.say(steer(id))
  await hearing.untilType('response.steer.accepted')
  world.sim.open('weir')
  const pending = await hearing.untilType('response.steer.pending')
  await until(async () => (await world.balance()).held === 0n, 'the hold is not given back')

  const kinds = hearing.messages.map(({ type }) => type)
  expect(kinds.indexOf('response.completed')).toBeLessThan(kinds.indexOf('response.steer.pending'))
  const [required] = pending.required_input as [Record<string, unknown>]
  hearing.say(create({ previous_response_id: id, input: [{ ...required, output: 'a canal' }] }))
  await hearing.untilType('response.completed', 2)
  hearing.close()
  await expectBooks(world, ['reported', 'reported'])
})

test('steering that cannot be paid for fails, and nobody upstream hears of it', async () => {
  await using world = await openSocketWorld({ balance: '0.018' })
  world.sim.script({}, { hold: { gate: 'weir', at: 3 } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ max_output_tokens: 1000 }))
  const { id } = response(await hearing.untilType('response.created'))
  hearing.say(steer(id))
  const failed = await hearing.untilType('response.steer.failed')
  hearing.say(steer('resp_none'))
  const unknown = await hearing.untilType('response.steer.failed', 2)
  world.sim.open('weir')
  await hearing.untilType('response.completed')
  hearing.say(steer(id))
  const late = await hearing.untilType('response.steer.failed', 3)

  expect(failed).toMatchObject({ error: { code: 'insufficient_quota' }, steer: { input: 'wait', previous_response_id: id } })
  expect([errorOf(unknown).code, errorOf(late).code]).toEqual(['response_not_found', 'response_already_completed'])
  expect(world.sim.attempts.filter(({ method }) => method === 'MESSAGE')).toHaveLength(1)
  hearing.close()
  await expectBooks(world, ['reported'])
})

test('another user’s response is told as an unknown one, and no upstream hears of it', async () => {
  await using world = await openSocketWorld()
  const other = await world.addKey(await world.addUser())
  const [mine, theirs] = [await openHearing(world, world.key), await openHearing(world, other.secret)]
  mine.say(create())
  const { id } = response(await mine.untilType('response.completed'))
  const attempts = world.sim.attempts.length
  theirs.say(create({ previous_response_id: id, stream_id: 'a' }))
  const refused = await theirs.untilType('error')
  theirs.say(create({ previous_response_id: 'resp_none' }))
  const unknown = await theirs.untilType('error', 2)

  expect(refused).toEqual({
    type: 'error',
    status: 400,
    stream_id: 'a',
    error: {
      type: 'invalid_request_error',
      code: 'previous_response_not_found',
      message: `Previous response with id '${id}' not found.`,
      param: 'previous_response_id',
      headers: { 'x-should-retry': 'false' },
    },
  })
  expect(errorOf(unknown)).toEqual({ ...errorOf(refused), message: "Previous response with id 'resp_none' not found." })
  expect(world.sim.attempts).toHaveLength(attempts)
  for (const one of [mine, theirs]) one.close()
  await expectBooks(world, ['reported'])
})

test('what is steered in has owners too, each time, and a revoked key steers nothing more', async () => {
  await using world = await openSocketWorld()
  const other = await world.addKey(await world.addUser())
  const [mine, theirs] = [await openHearing(world, world.key), await openHearing(world, other.secret)]
  mine.say(create())
  const [secretItem] = response(await mine.untilType('response.completed')).output as [{ id: string }]
  const reference = [{ type: 'item_reference', id: secretItem.id }]
  world.sim.script({}, [{ hold: { gate: 'weir', at: 3 } }, { text: 'as you wish' }])
  theirs.say(create({ max_output_tokens: 1000 }))
  const { id } = response(await theirs.untilType('response.created'))
  theirs.say(steer(id, reference))
  theirs.say(`{"type":"response.steer","previous_response_id":"${id}","input":${JSON.stringify(reference)},"input":"hello"}`)
  const twice = await theirs.untilType('error')
  theirs.say(steer(id, 'wait'))
  await theirs.untilType('response.steer.accepted')
  theirs.say(steer(id, reference))
  theirs.say(steer(id, [{ role: 'user', content: [{ type: 'input_file', file_id: 'file-theirs' }] }]))
  theirs.say(steer(id, 'and wait'))
  await theirs.untilType('response.steer.accepted', 2)
  const principal = await world.headgate.gateway.directory.principalOf(other.secret)
  if (principal === 'unknown') throw new Error('the key is not known')
  await world.commit(changeKey({ ...principal.key, disabled: true }))
  theirs.say(steer(id, 'still there?'))
  await theirs.untilType('response.steer.failed', 4)
  world.sim.open('weir')
  await theirs.untilType('response.completed')

  const failed = theirs.messages.filter(({ type }) => type === 'response.steer.failed').map(message => String(errorOf(message).message))
  const noItem = `Item with id '${secretItem.id}' not found. Items are not persisted`
  expect(failed).toEqual([
    expect.stringContaining(noItem),
    expect.stringContaining(noItem),
    "File with id 'file-theirs' not found.",
    'Invalid API key',
  ])
  expect(errorOf(twice)).toMatchObject({ message: 'Failed to parse request body' })
  for (const one of [mine, theirs]) one.close()
  await world.quiet()
})
