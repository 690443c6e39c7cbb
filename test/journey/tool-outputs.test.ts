import { afterAll, beforeAll, expect, test } from 'vitest'
import { refusalOf, send } from '../client.ts'
import { openWorld, until, type World } from '../world.ts'

/** SPEC 1.2: tool outputs need a context, and nothing else about them is judged. */

const noCallId =
  'function_call_output requires call_id or previous_response_id; if relying on history, ensure store=true and reuse previous_response_id'
const noReference =
  'function_call_output requires item_reference ids matching each call_id, or previous_response_id/tool_call context; if relying on history, ensure store=true and reuse previous_response_id'

const output = (call_id?: unknown) => ({ type: 'function_call_output', output: 'done', call_id })
const call = (call_id?: unknown, type = 'function_call') => ({ type, name: 'f', arguments: '{}', call_id })
const reference = (id?: unknown) => ({ type: 'item_reference', id })
const said = { role: 'user', content: 'hello' }

let world: World
beforeAll(async () => {
  world = await openWorld()
  world.sim.script({}, { anyItems: true }) // The ids are made up; what is judged here stands before the upstream.
})
afterAll(async () => {
  await world.quiet()
  await world[Symbol.asyncDispose]()
})

test.for<[unknown, string | 'passes', object?]>([
  // Nothing to judge.
  [undefined, 'passes'],
  ['function_call_output', 'passes'],
  [[said], 'passes'],
  [[call()], 'passes'],
  [[reference('x')], 'passes'],
  [output(), 'passes'],
  [[{ ...output(), type: 'Function_call_output' }], 'passes'],
  [[{ ...output(), type: ['function_call_output'] }], 'passes'],
  [[{ ...output(), type: 'custom_tool_call_output' }], 'passes'],
  [[{ ...output(), type: 'local_shell_call_output' }], 'passes'],
  [[{ role: 'user', content: [output()] }], 'passes'],
  [[[output()]], 'passes'],
  [['function_call_output', null, 5], 'passes'],

  // No call_id.
  [[output()], noCallId],
  [[output('')], noCallId],
  [[output(' \t')], noCallId],
  [[output(null)], noCallId],
  [[output(5)], noCallId],
  [[output(['c1'])], noCallId],
  [[said, output('c1'), output()], noCallId],
  [[reference('c1'), output('c1'), output()], noCallId],
  [[call(), output()], noCallId],
  [[call(' '), output()], noCallId],
  [[call(5, 'tool_call'), output()], noCallId],

  // A call_id without its reference.
  [[output('c1')], noReference],
  [[output('c1'), reference('c2')], noReference],
  [[output('c1'), reference('C1')], noReference],
  [[output('c1'), reference()], noReference],
  [[output('c1'), reference(['c1'])], noReference],
  [[output('c1'), { id: 'c1' }], noReference],
  [[output('c1'), { type: 'item_references', id: 'c1' }], noReference],
  [[output('c1'), output('c2'), reference('c1')], noReference],
  [[output('c1'), call('')], noReference],
  [[output('c1'), call('c1', 'custom_tool_call')], noReference],
  [[output('c1'), call('c1', 'Function_call')], noReference],
  [[output('c1'), [call('c1')]], noReference],
  // The reference is trimmed, the call_id is not.
  [[output(' c1 '), reference('c1')], noReference],
  [[output(' c1 '), reference(' c1 ')], noReference],
  [[output('c1'), reference(' c1\n')], 'passes'],

  // Every one has its reference, wherever it stands.
  [[reference('c1'), output('c1')], 'passes'],
  [[output('c1'), said, reference('c1')], 'passes'],
  [[output('c1'), output('c2'), output('c1'), reference('c2'), reference('c1')], 'passes'],

  // Any call with an id will do; it need not match, and the outputs need none.
  [[call('c1'), output('c1')], 'passes'],
  [[output('c1'), call('other')], 'passes'],
  [[output('c1'), call('other', 'tool_call')], 'passes'],
  [[output(), call('other')], 'passes'],
  [[output(' c1 '), output(), call(), call(' other ')], 'passes'],

  // What is no previous response.
  [[output('c1')], noReference, { previous_response_id: '' }],
  [[output('c1')], noReference, { previous_response_id: ' \n' }],
  [[output('c1')], noReference, { previous_response_id: null }],
  [[output('c1')], noReference, { previous_response_id: 5 }],
  [[output()], noCallId, { previous_response_id: ['resp_1'] }],
  [[output()], noCallId, { metadata: { previous_response_id: 'resp_1' } }],
  [[output('c1')], noReference, { store: true, conversation: null }],
])('input %j: %s', async ([input, expected, more = {}]) => {
  const before = world.sim.attempts.length
  const answer = await send(world, { body: { model: 'sim', input, ...more } })
  if (expected === 'passes') {
    expect(answer.status).toBe(200)
    expect(JSON.parse(world.sim.attempts.at(-1)!.body.toString()).input).toEqual(
      input === undefined ? undefined : JSON.parse(JSON.stringify(input)),
    )
  } else {
    expect(refusalOf(answer)).toEqual({
      status: 400,
      type: 'invalid_request_error',
      code: null,
      param: null,
      message: expected,
      retry: 'never',
    })
    expect(world.sim.attempts).toHaveLength(before)
  }
})

test('a previous response of one’s own is context enough, whatever the outputs say', async () => {
  const { json } = await send(world)
  for (const input of [[output()], [output('c1')], [output('c1'), reference('item_unknown')]]) {
    expect((await send(world, { body: { model: 'sim', input, previous_response_id: json.id } })).status).toBe(200)
  }
})

test('what else is wrong with pairs is the upstream’s to say, and its words are relayed', async () => {
  const rawBody =
    '{ "error": {"message":"No tool output found for function call c1.","type":"invalid_request_error","param":"input","code":null}}'
  world.sim.script({ model: 'sim' }, { status: 400, rawBody, headers: { 'content-type': 'application/json' } })
  const answer = await send(world, { body: { model: 'sim', input: [call('c1'), output('c2')] } })
  expect([answer.status, answer.body]).toEqual([400, rawBody])
  world.sim.script({ model: 'sim' }, {})
})

test('it is refused before any line or money', async () => {
  const user = await world.addUser({ concurrency: 1 }, '1')
  const { secret: key } = await world.addKey(user)
  world.sim.script({ model: 'sim' }, { hold: 'first' })
  const first = send(world, { key })
  await world.sim.gate('first').reached()
  expect((await send(world, { key, body: { model: 'sim', input: [output()] } })).error.message).toBe(noCallId)
  world.sim.open('first')
  await first
  await until(async () => (await world.balance(user)).held === 0n, 'money is held')
  const { secret: poor } = await world.addKey(await world.addUser({}, '0'))
  expect((await send(world, { key: poor, body: { model: 'sim', input: [output()] } })).error.message).toBe(noCallId)
})
