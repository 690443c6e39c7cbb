import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

async function headgate(argv: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(root, 'bin/headgate.mjs'), ...argv], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const code = new Promise<number | null>(resolve => child.on('close', resolve))
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await code, out, err }
}

test('the program says its version', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  expect(await headgate(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' })
})

test('the program reads its environment', async () => {
  const { code, out, err } = await headgate(['config', 'show', '--json'], { HEADGATE_LINE_EXTRA: '7' })
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(JSON.parse(out).items).toContainEqual({ name: 'lineExtra', value: 7, unit: 'calls', from: 'env', where: 'HEADGATE_LINE_EXTRA' })
})

test.each([
  [['serv'], {}, 'headgate has no command "serv"; did you mean serve?'],
  [['serve', '--lisen', '127.0.0.1:0'], {}, 'headgate serve has no option --lisen; did you mean --listen?'],
  [['serve'], { HEADGATE_LISTEN: 'x' }, 'HEADGATE_LISTEN is "x"; it takes a host and a port, such as 127.0.0.1:8080 or [::1]:8080.'],
  [['demo'], { HEADGATE_LISEN: 'x' }, 'HEADGATE_LISEN is not a setting; did you mean HEADGATE_LISTEN?'],
])('headgate %j with %j exits with 2 and one sentence', async (argv, env, sentence) => {
  const { code, out, err } = await headgate(argv, env)
  expect({ code, out, sentence: err.slice(0, sentence.length) }).toEqual({ code: 2, out: '', sentence })
  expect(err.trimEnd()).not.toContain('\n')
})
