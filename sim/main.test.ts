import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { readScriptFile } from './script-file.ts'
import { openSim } from './sim.ts'

function start(...options: string[]) {
  const child = spawn(process.execPath, [fileURLToPath(new URL('main.ts', import.meta.url)), ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  const exited = once(child, 'close').then(([code]) => ({ code: code as number | null, said }))
  child.stderr.on('data', (chunk: Buffer) => (said += chunk))
  return { child, exited }
}

test.concurrent.each(['SIGTERM', 'SIGINT'] as const)('it says one line when ready, plays its script file, and ends on %s', async signal => {
  const folder = mkdtempSync(join(tmpdir(), 'sim-'))
  try {
    const file = join(folder, 'scripts.json')
    writeFileSync(
      file,
      JSON.stringify({ scripts: [{ script: { text: 'from the file' } }], prices: { m: { input: '1', output: '2' } }, websocket: false }),
    )
    const { child, exited } = start('--port', '0', '--script', file)
    const [line] = await once(child.stdout, 'data')
    const url = /^scripted upstream ready at (http:\/\/127\.0\.0\.1:\d+)\n$/.exec(String(line))![1]!
    const answer = await fetch(`${url}/v1/responses`, { method: 'POST', body: '{"model":"m"}' })
    expect(await answer.text()).toContain('from the file')
    const models = await fetch(`${url}/v1/models`)
    expect(await models.json()).toMatchObject({ data: [{ id: 'm' }] })
    const conversation = await fetch(`${url}/v1/conversations`, { method: 'POST' })
    expect(await conversation.json()).toMatchObject({ object: 'conversation' })
    child.kill(signal)

    expect(await exited).toEqual({ code: 0, said: '' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.concurrent('asked for help, it says what it takes and what it has', async () => {
  const { child, exited } = start('--help')
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk))

  expect(await exited).toEqual({ code: 0, said: '' })
  for (const words of ['--script file.json', '"route"', 'POST /chat/completions', 'GET /responses/{id}/input_items', 'WebSocket']) {
    expect(said).toContain(words)
  }
})

test.concurrent.each([
  [['--port', 'x'], '--port x is no port: it must be 0 to 65535'],
  [['--port', '70000'], '--port 70000 is no port'],
  [['--prot', '1'], "Unknown option '--prot'"],
  [['--script', '/nowhere/x.json'], 'no such file'],
])('bad arguments %j end it with 2 and a sentence', async (options, sentence) => {
  const { code, said } = await start(...options).exited

  expect(code).toBe(2)
  expect(said).toContain(sentence)
  expect(said.trim().split('\n').length).toBe(1)
})

test('a port that is taken ends it with 1 and a sentence', async () => {
  await using sim = await openSim()
  const { code, said } = await start('--port', String(sim.port)).exited

  expect(code).toBe(1)
  expect(said).toContain(`cannot listen on 127.0.0.1:${sim.port}`)
})

test.each([
  ['{', 'the script file is not JSON'],
  ['[]', 'wrong at its top'],
  ['{"scripts":[{"script":{"txet":"x"}}]}', 'wrong at scripts.0.script.0: Unrecognized key: "txet"'],
  ['{"scripts":[{"script":[{},{"end":"gone"}]}]}', 'wrong at scripts.0.script.1.end'],
  ['{"scripts":[{"route":"retreive","script":{}}]}', 'wrong at scripts.0.route'],
  ['{"scripts":[],"websocket":true}', 'wrong at websocket'],
  ['{"scripts":[],"prices":{"m":{"input":"1e3","output":"1"}}}', 'wrong at prices.m.input: USD per million tokens must be decimal text'],
])('the script file %s is told what is wrong', (text, sentence) => {
  expect(() => readScriptFile(text)).toThrow(sentence)
})
