import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { countByO200k } from '../../sim/o200k.ts'
import { imageTokens } from '../../src/protocols/image-tokens.ts'
import { openStream, send } from '../client.ts'
import { openWorld, type World, type WorldOptions } from '../world.ts'

/** What nobody reported is counted from what was sent and what came. The same in every ending: `bills.test.ts`. */

const counted: WorldOptions = { countTokens: countByO200k, settings: { estimateWithinMs: 30_000 } }

/** What an agent sends, in small. */
const agentBody = {
  model: 'sim',
  instructions: 'You are a careful engineer. Answer in one sentence, and cite the file.',
  input: [
    { role: 'developer', content: 'Prefer small changes.' },
    {
      type: 'message',
      role: 'user',
      content: [{ type: 'input_text', text: 'Why does “größe” break the parser?\n```ts\nparse("größe")\n```' }],
    },
    { type: 'function_call', call_id: 'c1', name: 'read_file', arguments: '{"path":"src/parse.ts","lines":[1,20]}' },
    { type: 'function_call_output', call_id: 'c1', output: 'export function parse(text: string): Node {\n  return read(text, 0)\n}\n' },
  ],
  tools: [{ type: 'function', name: 'read_file', parameters: { type: 'object', properties: { path: { type: 'string' } } } }],
}

async function expectEstimate(world: World): Promise<void> {
  await world.quiet()
  const [row] = await world.rows()
  const { usage } = world.sim.invoice[0]!
  expect(row).toMatchObject({ basis: 'estimated', input_tokens: BigInt(usage.inputTokens), output_tokens: BigInt(usage.outputTokens) })
}

test.each(['json', 'stream'])('a call with instructions, tools and their outputs is counted as the upstream counts it (%s)', async how => {
  await using world = await openWorld(counted)
  world.sim.script(
    {},
    { usage: null, text: 'Because “ö” takes two bytes.\n\nSee `src/parse.ts`.', toolCall: { name: 'done', arguments: '{"a":1}' } },
  )
  await send(world, { body: { ...agentBody, stream: how === 'stream' } })
  await expectEstimate(world)
})

test('instructions that Headgate added are counted too', async () => {
  await using world = await openWorld({ ...counted, settings: { ...counted.settings, defaultInstructions: 'Be brief, and be kind.' } })
  world.sim.script({}, { usage: null })
  await send(world)
  await expectEstimate(world)
})

test('an image counts by its rule, and its bytes do not count as text', async () => {
  await using world = await openWorld(counted)
  world.sim.script({}, { usage: null })
  const image = { type: 'input_image', image_url: `data:image/png;base64,${'A'.repeat(100_000)}` }
  await send(world, { body: { model: 'sim', input: [{ role: 'user', content: [{ type: 'input_text', text: 'What is this?' }, image] }] } })
  await world.quiet()
  const tokens = countByO200k('What is this?') + imageTokens(undefined, undefined)
  expect((await world.rows())[0]).toMatchObject({ basis: 'estimated', input_tokens: BigInt(tokens) })
})

test('a context whose response was only estimated is known all the same', async () => {
  await using world = await openWorld(counted)
  world.sim.script({}, { usage: null })
  const first = await send(world)
  await send(world, { body: { model: 'sim', input: 'and then?', previous_response_id: first.json.id } })
  await world.quiet()
  const rows = await world.rows()
  expect(rows.map(row => Number(row.input_tokens))).toEqual(world.sim.invoice.map(({ usage }) => usage.inputTokens))
})

test.each([
  ['is broken', 'process.exit()', 30_000],
  ['never answers', '', 30],
] as const)('when the counting worker %s, the size of the texts must do, and the call is settled', async (_, code, estimateWithinMs) => {
  const startCountWorker = () => new Worker(`require('node:worker_threads').parentPort.on('message', () => { ${code} })`, { eval: true })
  await using world = await openWorld({ settings: { estimateWithinMs }, adapters: { startCountWorker } })
  const text = 'Water runs downhill. '.repeat(40)
  world.sim.script({}, { end: 'cut', text })
  await using stream = openStream(world)
  await stream.until('response.failed')
  await world.quiet()
  const [row] = await world.rows()
  expect(row).toMatchObject({ ended: 'cut', basis: 'estimated', output_tokens: BigInt(text.length / 4) })
})
