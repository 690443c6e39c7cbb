import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

async function headgate(argv: readonly string[], env: Record<string, string> = {}, flags: readonly string[] = []) {
  const child = spawn(process.execPath, [...flags, join(root, 'bin/headgate.mjs'), ...argv], {
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

const smaller = ['--max-semi-space-size=16', '--min-semi-space-size=16', '--heap-growing-percent=200']

test.skipIf(process.execve === undefined).each<[string, string[], string[], Record<string, string>, string[]]>([
  ['a gateway starts anew, with a smaller heap', ['serve'], ['--max-heap-size=2000'], {}, [...smaller, '--max-heap-size=2000']],
  ['on a small machine it stays', ['serve'], ['--max-heap-size=500'], {}, ['--max-heap-size=500']],
  ['who chose otherwise is obeyed', ['serve'], ['--max-semi-space-size=64'], {}, ['--max-semi-space-size=64']],
  ['also by the environment', ['serve'], ['--max-heap-size=2000'], { NODE_OPTIONS: '--max-semi-space-size=64' }, ['--max-heap-size=2000']],
  ['other commands stay', ['status'], ['--max-heap-size=2000'], {}, ['--max-heap-size=2000']],
])('%s', async (_, argv, flags, env, became) => {
  const tell = 'data:text/javascript,console.log(JSON.stringify(process.execArgv.slice(0, -2)))'
  // It ends by itself: nothing can listen there.
  const { code, out, err } = await headgate(argv, { ...env, HEADGATE_LISTEN: 'x' }, [...flags, '--import', tell])
  expect({ code, warned: err.includes('Warning') }).toEqual({ code: 2, warned: false })
  expect(JSON.parse(out.trim().split('\n').at(-1)!)).toEqual(became)
})
