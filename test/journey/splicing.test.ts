import { describe, expect, test } from 'vitest'
import { defaultCapabilities } from '../../src/directory/entities.ts'
import { send } from '../client.ts'
import { sharedWorld } from '../shared-world.ts'
import { openWorld, type World } from '../world.ts'

/** SPEC 1.2: unknown fields pass byte for byte, and the only fields that are ever changed. */

/** What the upstream got of a body, as text. */
async function arrived(world: World, body: string | Buffer, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const answer = await send(world, { body, headers })
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`)
  const { body: bytes, headers: sent } = world.sim.attempts.at(-1)!
  expect(sent['content-length']).toBe(String(bytes.length))
  return bytes.toString()
}

/** Whatever a parser and a serializer would have changed. */
const odd = [
  '"b" : 1 ,\n\t"a":1.0,"c":1e2,"d":-0',
  '"big":12345678901234567890,"exact":0.1000000000000000055511151231257827,"huge":1e400',
  String.raw`"text":"\u00e9\/\ud83d\ude00\u0000é😀"`,
  '"twice":1,"twice":2,"nested":{"model":"fast","max_output_tokens":1,"instructions":"x","model":"y"}',
  '"empty":"","none":null,"list":[ ],"object":{ }',
  '"metadata":{"__proto__":"x","constructor":"y"}',
  String.raw`"like":"\"model\":\"fast\"","quote":"\\"`,
]

describe('nothing to change', () => {
  const world = sharedWorld({})

  test.for(odd)('%s arrives as it was sent', async fields => {
    for (const body of [`{"model":"sim","input":"x",${fields}}`, `\r\n { ${fields} ,"input":"x", "model" : "sim" }\n`]) {
      expect(await arrived(world(), body)).toBe(body)
    }
  })

  test.for([true, false, null, 'x'])('store: %j is passed on as it was sent', async store => {
    const body = `{"model":"sim","input":"x","store":${JSON.stringify(store)}}`
    expect(await arrived(world(), body)).toBe(body)
  })
})

describe('the model under an alias', () => {
  const world = sharedWorld({ accounts: [{ models: { fast: 'sim', 'ré"d': 'sim', sim: 'sim' } }] })

  test.for(odd)('%s stays around the model', async fields => {
    const body = (model: string) => `{"input":"x",${fields} , "model" : ${model} }`
    expect(await arrived(world(), body('"fast"'))).toBe(body('"sim"'))
  })

  test.for<[string, string]>([
    ['{"model":"fast","input":"x"}', '{"model":"sim","input":"x"}'],
    [String.raw`{"model":"f\u0061st","input":"x"}`, '{"model":"sim","input":"x"}'],
    [String.raw`{"mod\u0065l":"fast","input":"x"}`, String.raw`{"mod\u0065l":"sim","input":"x"}`],
    [String.raw`{"model":"r\u00e9\"d","input":"x"}`, '{"model":"sim","input":"x"}'],
    ['{"metadata":{"model":"fast"},"model":"fast","input":"x"}', '{"metadata":{"model":"fast"},"model":"sim","input":"x"}'],
  ])('%s arrives as %s', async ([sent, expected]) => {
    expect(await arrived(world(), sent)).toBe(expected)
    expect((await world().rows()).at(-1)).toMatchObject({ served_model: 'sim' })
  })
})

describe('the ceiling of the output', () => {
  // 0.02 USD pay for 2,000 tokens of output, less what the input costs.
  const world = sharedWorld({ balance: '100' })

  async function poorKey(): Promise<World> {
    const user = await world().addUser({}, '0.02')
    return { ...world(), key: (await world().addKey(user)).secret }
  }

  test('is lowered where it stands, to what the money pays for', async () => {
    const body = (ceiling: string) => `{ "input":"x", "max_output_tokens" : ${ceiling} ,"big":12345678901234567890,"model":"sim"}`
    const got = await arrived(await poorKey(), body('5000'))
    const ceiling = /"max_output_tokens" : (\d+) ,/.exec(got)?.[1] ?? ''
    expect(got).toBe(body(ceiling))
    // The input is estimated at a token for two bytes, rounded up: 40 of them, 80 nano-dollars each 1,000.
    const inputTokens = Math.ceil(body('5000').length / 2)
    expect(Number(ceiling)).toBe(Math.floor((20_000_000 - inputTokens * 2_500) / 10_000))
    expect((await world().rows()).at(-1)).toMatchObject({ output_lowered_to: BigInt(ceiling), held: 20_000_000n })
  })

  test('is written when none was sent and money is short, at half of what is free', async () => {
    const body = '{ "input":"x","big":12345678901234567890,"model":"sim"}'
    const got = await arrived(await poorKey(), body)
    const ceiling = /^\{"max_output_tokens":(\d+),/.exec(got)?.[1] ?? ''
    expect(got).toBe(`{"max_output_tokens":${ceiling},${body.slice(1)}`)
    // Half of what is free does not reach the floor of 1,024 tokens: the floor is granted.
    expect(Number(ceiling)).toBe(1024)
  })

  test('stays as it was sent when it fits', async () => {
    for (const ceiling of ['5000', '1', '5000.0', '5e3', '"5000"', 'null']) {
      const body = `{"model":"sim","input":"x","max_output_tokens":${ceiling}}`
      expect(await arrived(world(), body)).toBe(body)
    }
    expect((await world().rows()).at(-1)).toMatchObject({ output_lowered_to: null })
  })

  test('is not invented when money is not short', async () => {
    const body = '{"model":"sim","input":"x"}'
    expect(await arrived(world(), body)).toBe(body)
  })
})

describe('safety_identifier', () => {
  const capabilities = { ...defaultCapabilities, safetyIdentifier: true }
  const world = sharedWorld({ accounts: [{ capabilities }] })
  const mine = /^\{"safety_identifier":"([0-9a-f]{64})",/

  test('is added for an account that takes it, the same for each call of a user, and another for another user', async () => {
    const body = '{"model":"sim","input":"x", "big":12345678901234567890}'
    const first = await arrived(world(), body)
    const id = mine.exec(first)?.[1]
    expect(first).toBe(`{"safety_identifier":"${id}",${body.slice(1)}`)
    expect(await arrived(world(), body)).toBe(first)
    const { secret } = await world().addKey(await world().addUser())
    expect(mine.exec(await arrived({ ...world(), key: secret }, body))?.[1]).not.toBe(id)
    expect(first).not.toContain(world().user.id)
  })

  test('stays as the client sent it', async () => {
    const body = '{"model":"sim","input":"x","safety_identifier":"me"}'
    expect(await arrived(world(), body)).toBe(body)
  })

  test.for(['null', '""', '" "'])('is put in the place of %s', async said => {
    const body = (id: string) => `{"model":"sim","safety_identifier" : ${id} ,"input":"x"}`
    expect(await arrived(world(), body(said))).toMatch(new RegExp(`^${body('"[0-9a-f]{64}"')}$`))
  })
})

describe('default instructions', () => {
  const world = sharedWorld({ settings: { defaultInstructions: ' \n Be "brief".\t' } })
  const added = '"instructions":"Be \\"brief\\"."'
  const codex = { 'user-agent': 'codex_cli_rs/0.99' }

  test.for<[string, string, Readonly<Record<string, string>>]>([
    ['{"model":"sim","input":"x"}', `{${added},"model":"sim","input":"x"}`, {}],
    ['{ "model":"sim","instructions" : "" }', `{ "model":"sim",${added.replace(':', ' : ')} }`, {}],
    ['{"model":"sim","instructions":" \\n"}', `{"model":"sim",${added}}`, {}],
    ['{"model":"sim","instructions":null}', `{"model":"sim",${added}}`, {}],
    ['{"model":"sim","instructions":5}', `{"model":"sim",${added}}`, {}],
    ['{"model":"sim","instructions":["x"]}', `{"model":"sim",${added}}`, {}],
    ['{"model":"sim","instructions":{"a":"b"}}', `{"model":"sim",${added}}`, {}],
    ['{"model":"sim","store":false}', `{${added},"model":"sim","store":false}`, { 'user-agent': 'Codex_cli' }],
    ['{"model":"sim","store":true}', `{${added},"model":"sim","store":true}`, { 'user-agent': 'my codex_cli' }],
    ['{"model":"sim"}', `{${added},"model":"sim"}`, { 'user-agent': 'codex' }],
    ['{"model":"sim","metadata":{"instructions":"x"}}', `{${added},"model":"sim","metadata":{"instructions":"x"}}`, {}],
  ])('%s becomes %s', async ([sent, expected, headers]) => {
    expect(await arrived(world(), sent, headers)).toBe(expected)
    expect((await world().rows()).at(-1)).toMatchObject({ instructions_added: 1n })
  })

  test.for<[string, Readonly<Record<string, string>>]>([
    ['{"model":"sim","instructions":"mine"}', {}],
    ['{"model":"sim","instructions":" mine "}', {}],
    ['{"model":"sim"}', codex],
    ['{"model":"sim","instructions":""}', codex],
  ])('%s from %j stays as it is', async ([sent, headers]) => {
    expect(await arrived(world(), sent, headers)).toBe(sent)
    expect((await world().rows()).at(-1)).toMatchObject({ instructions_added: 0n })
  })

  test('their tokens are the caller’s: they are held for, and billed', async () => {
    const body = '{"model":"sim","input":"x","max_output_tokens":100}'
    await arrived(world(), body, codex)
    await arrived(world(), body)
    const [without, withThem] = (await world().rows()).slice(-2)
    const text = 'Be "brief".'
    expect(BigInt(withThem!.held as bigint) - BigInt(without!.held as bigint)).toBe(BigInt(Math.ceil(text.length / 2)) * 2_500n)
    expect(withThem!.input_tokens).toBe((without!.input_tokens as bigint) + 3n)
  })

  test.for(['', ' \n\t '])('a text of %j is none', async defaultInstructions => {
    await using plain = await openWorld({ settings: { defaultInstructions } })
    expect(await arrived(plain, '{"model":"sim","instructions":""}')).toBe('{"model":"sim","instructions":""}')
    await plain.quiet()
  })

  test('nothing is added by default', async () => {
    await using plain = await openWorld()
    expect(await arrived(plain, '{"model":"sim"}')).toBe('{"model":"sim"}')
    await plain.quiet()
  })
})

test('all four fields are changed at once, and nothing else', async () => {
  const capabilities = { ...defaultCapabilities, safetyIdentifier: true }
  const settings = { defaultInstructions: 'Be brief.' }
  await using world = await openWorld({ accounts: [{ capabilities, models: { fast: 'sim' } }], settings, balance: '0.02' })
  const got = await arrived(world, '{"max_output_tokens":9999, "n":12345678901234567890 ,"model":"fast","input":"x","store":false }')
  expect(got).toMatch(
    /^\{"instructions":"Be brief\.","safety_identifier":"[0-9a-f]{64}","max_output_tokens":\d{4}, "n":12345678901234567890 ,"model":"sim","input":"x","store":false \}$/,
  )
  await world.quiet()
})
