import { expect, test } from 'vitest'
import { type Message, openHearing } from './hear-socket.ts'
import { openSim } from './sim.ts'

const create = (fields: object = {}) => ({ type: 'response.create', model: 'm', input: 'hello', ...fields })
const steer = (id: string, input: unknown = 'wait') => ({ type: 'response.steer', previous_response_id: id, input })
const response = (message: Message) => message.response as Record<string, unknown> & { id: string; usage: Record<string, number> }

test('a response that is steered stops before its next item, and its successor goes on in the lane', async () => {
  await using sim = await openSim({ prices: { m: { input: '0.001', output: '0.01' } } })
  sim.script({}, [{ reasoning: 10, text: 'never said', hold: { gate: 'weir', at: 5 } }, { text: 'as you wish' }, { text: 'last' }])
  const hearing = await openHearing(sim)
  hearing.say(create({ stream_id: 'a', instructions: 'be kind', store: false }))
  hearing.say(create({ stream_id: 'a' }))
  const { id } = response(await hearing.untilType('response.created'))
  await sim.gate('weir').reached()
  hearing.say(steer(id))
  const accepted = await hearing.untilType('response.steer.accepted')
  sim.open('weir')
  await hearing.untilType('response.completed', 2)

  expect(accepted).toMatchObject({ stream_id: 'a', sequence_number: 5, steer: { previous_response_id: id } })
  const ended = await hearing.untilType('response.incomplete')
  expect(response(ended)).toMatchObject({
    incomplete_details: { reason: 'steered' },
    output: [{ type: 'reasoning' }],
    usage: { input_tokens: 4, output_tokens: 10 },
  })
  const numbers = hearing.messages.slice(0, hearing.messages.indexOf(ended) + 1).map(message => message.sequence_number)
  expect(numbers).toEqual(numbers.map((_, n) => n))
  const successor = response(hearing.messages[hearing.messages.indexOf(ended) + 1]!)
  expect(successor).toMatchObject({ previous_response_id: id, instructions: 'be kind', store: false })
  const [, two, three] = sim.invoice
  expect(sim.invoice.map(line => [line.ended, line.of, line.costNanos])).toEqual([
    ['incomplete', 'websocket', 104n],
    ['completed', 'websocket', 14n + 1n + 2n + 30n],
    ['completed', 'websocket', 2n + 10n],
  ])
  expect([two!.responseId, three!.usage.inputTokens]).toEqual([successor.id, 2])
})

test('a response that cannot stop any more is followed by its successor', async () => {
  await using sim = await openSim()
  sim.script({}, [{ text: 'one two', deltas: 2, hold: { gate: 'weir', at: 5 } }, { text: 'three' }])
  const hearing = await openHearing(sim)
  hearing.say(create())
  const { id } = response(await hearing.untilType('response.created'))
  await sim.gate('weir').reached()
  hearing.say(steer(id, [{ role: 'user', content: 'and three' }]))
  hearing.say(steer(id, 'and four'))
  await hearing.untilType('response.steer.accepted', 2)
  sim.open('weir')
  const second = response(await hearing.untilType('response.completed', 2))

  expect(second).toMatchObject({ previous_response_id: id, usage: { input_tokens: 2 + 2 + 3 + 2 } })
  expect(sim.invoice.map(line => line.ended)).toEqual(['completed', 'completed'])
})

test('what was said to a response that waits for an output is taken up with the output', async () => {
  await using sim = await openSim()
  sim.script({}, [{ toolCall: { name: 'look', arguments: '{}' }, hold: { gate: 'weir', at: 3 } }, { text: 'seen' }])
  const hearing = await openHearing(sim)
  hearing.say(create())
  const { id } = response(await hearing.untilType('response.created'))
  await sim.gate('weir').reached()
  hearing.say(steer(id, 'look twice'))
  await hearing.untilType('response.steer.accepted')
  sim.open('weir')
  const pending = await hearing.untilType('response.steer.pending')
  const [stub] = pending.required_input as { call_id: string }[]
  expect(pending).toMatchObject({ reason: 'waiting_for_required_input', steer: { previous_response_id: id } })
  expect(stub).toMatchObject({ type: 'function_call_output', name: 'look', call_id: expect.stringMatching(/^call_/) })
  hearing.say(create({ previous_response_id: id, input: [{ ...stub, output: 'water' }] }))
  const last = response(await hearing.untilType('response.completed', 2))

  expect(last.usage.input_tokens).toBe(2 + 1 + 3 + 2)
  expect(sim.invoice.length).toBe(2)
})

test('what was said to a response that fails comes back', async () => {
  await using sim = await openSim()
  sim.script({}, { end: 'failed', hold: { gate: 'weir', at: 5 } })
  const hearing = await openHearing(sim)
  hearing.say(create())
  const { id } = response(await hearing.untilType('response.created'))
  await sim.gate('weir').reached()
  hearing.say(steer(id))
  const accepted = await hearing.untilType('response.steer.accepted')
  sim.open('weir')
  const failed = await hearing.untilType('response.steer.failed')

  expect(failed).toMatchObject({
    error: { code: 'successor_creation_failed' },
    steer: { input: 'wait', id: (accepted.steer as Message).id },
  })
  expect(sim.invoice.map(line => line.ended)).toEqual(['failed'])
})

test.each([
  ['an unknown response', (_: string) => steer('resp_none'), 'response_not_found'],
  ['no input', (id: string) => steer(id, []), 'invalid_input'],
  ['a message of the system', (id: string) => steer(id, [{ role: 'system', content: 'x' }]), 'invalid_input'],
  ['the output of a tool', (id: string) => steer(id, [{ type: 'function_call_output', output: 'x' }]), 'invalid_input'],
])('steering with %s fails', async (_, message, code) => {
  await using sim = await openSim()
  sim.script({}, { hold: { gate: 'weir', at: 3 } })
  const hearing = await openHearing(sim)
  hearing.say(create())
  const { id } = response(await hearing.untilType('response.created'))
  hearing.say(message(id))
  const failed = await hearing.untilType('response.steer.failed')
  sim.open('weir')
  await hearing.untilType('response.completed')

  expect(failed).toMatchObject({ error: { type: 'invalid_request_error', code } })
  expect((failed.steer as Message).id).toBeUndefined()
  hearing.say(steer(id))
  expect(await hearing.untilType('response.steer.failed', 2)).toMatchObject({ error: { code: 'response_already_completed' } })
})
