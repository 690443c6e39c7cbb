import fc from 'fast-check'
import { expect, test } from 'vitest'
import { countByO200k } from '../../sim/o200k.ts'
import { openLog } from '../../src/lib/log.ts'
import { send } from '../client.ts'
import { openWorld } from '../world.ts'

/** What is beyond hold and balance is the operator's, and the row says why. For plain text there is none. */

const tight = { balance: '0.02', countTokens: countByO200k }
const tooMuch = { usage: { input_tokens: 100_000 } }
const ask = { model: 'sim', input: 'hello', max_output_tokens: 100 }

test.each([
  ['hosted_tools', { ...ask, tools: [{ type: 'web_search' }] }, tooMuch],
  ['stored_context', { ...ask, prompt: { id: 'pmpt_1' } }, tooMuch],
  [
    'media',
    { ...ask, input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'https://a.example/b', detail: 'low' }] }] },
    tooMuch,
  ],
  ['dense_input', ask, tooMuch],
  ['ceiling_exceeded', ask, { usage: { output_tokens: 100_000 } }],
  ['dearer_price', ask, { serviceTier: 'priority' }],
])('%s', async (why, body, script) => {
  const log: string[] = []
  await using world = await openWorld({
    ...tight,
    prices: [{}, { tier: 'priority', output: 10n ** 14n }],
    log: openLog('warn', { write: line => void log.push(line) }),
  })
  world.sim.script({}, script)
  await send(world, { body })
  await world.quiet()
  const [row] = await world.rows()
  expect(row).toMatchObject({ uncollected: expect.toSatisfy(nanos => nanos > 0n), uncollected_why: why, basis: 'reported' })
  expect(await world.balance()).toEqual({ balance: 0n, held: 0n })
  expect(log.map(line => JSON.parse(line))).toMatchObject([{ call: row!.id, why, msg: 'a call cost more than could be taken' }])
  const metrics = await world.headgate.gateway.metrics.uncollectedUsd.get()
  expect(metrics.values).toMatchObject([{ labels: { why }, value: Number(row!.uncollected) / 1e9 }])
})

test('a row from which all was taken says nothing of it, whatever was beyond the hold', async () => {
  await using world = await openWorld({ countTokens: countByO200k })
  world.sim.script({}, tooMuch)
  await send(world, { body: ask })
  await world.quiet()
  expect((await world.rows())[0]).toMatchObject({ uncollected: 0n, uncollected_why: null })
})

/** What takes many tokens for its bytes. */
const dense = {
  digits: '0123456789',
  'digits and blanks': '0 1 2 3 4 5 6 7 8 9 ',
  hexadecimal: '0123456789abcdef',
  base64: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  marks: '!@#$%^&*()_+-=[]{}|;:,.<>/?\\"\'`~',
  emoji: '🌊💧🚰🏞️🌾👩‍🌾🇳🇵🧑🏽‍🚒',
  Yi: 'ꀀꀁꀂꀃꀄꀅꀆꀇꀈꀉꀊꀋꀌꀍꀎꀏ',
  Ethiopic: 'ሀሁሂሃሄህሆለሉሊላሌልሎሐሑሒሓሔ',
  cuneiform: '𒀀𒀁𒀂𒀃𒀄𒀅𒀆𒀇𒀈𒀉𒀊𒀋𒀌',
  'old Han': '𠀀𠀁𠀂𠀃𠀄𠀅𠀆𠀇𠀈𠀉𠀊',
  control: '\u0001\u0002\u0003\t\n\r\u0007\u001b',
} as const

const runs = process.env.HEADGATE_TEST_FULL ? 1000 : 150

test(`plain text never costs more than was held for it, however dense it is (${runs} texts)`, async () => {
  await using world = await openWorld({ ...tight, balance: '1000' })
  const text = fc.constantFrom(...Object.values(dense)).chain(alphabet => {
    const chars = fc.constantFrom(...Array.from(alphabet))
    return fc.string({ unit: chars, minLength: 1, maxLength: 1500, size: 'max' })
  })
  const asked = fc.record({
    input: text,
    instructions: fc.option(text, { nil: undefined }),
    max_output_tokens: fc.integer({ min: 1, max: 60 }),
  })
  await fc.assert(
    fc.asyncProperty(asked, async body => {
      const { headers } = await send(world, { body: { model: 'sim', ...body } })
      const row = (await world.rows()).find(({ id }) => id === headers['x-request-id'])!
      expect(row).toMatchObject({ basis: 'reported', cost: world.sim.invoice.at(-1)!.costNanos, uncollected: 0n })
      expect(row.held).toBeGreaterThanOrEqual(row.cost as bigint)
    }),
    { numRuns: runs, endOnFailure: true },
  )
  await world.quiet()
})
