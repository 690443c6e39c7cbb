import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const program = fileURLToPath(new URL('../../bin/headgate.mjs', import.meta.url))

test('a gateway whose output nobody reads any more still stops in order', async () => {
  const data = mkdtempSync(join(tmpdir(), 'headgate-test-'))
  const settings = { HEADGATE_DATA: data, HEADGATE_LISTEN: '127.0.0.1:0', HEADGATE_STOP_NOTICE_MS: '0', HEADGATE_LOG_LEVEL: 'trace' }
  const gateway = spawn(process.execPath, [program, 'serve'], { env: { ...process.env, ...settings }, stdio: ['ignore', 'pipe', 'pipe'] })
  const exit = once(gateway, 'exit')
  await once(gateway.stdout, 'data')
  // As `| tee` does on Ctrl-C: it ends first.
  gateway.stdout.destroy()
  gateway.stderr.destroy()
  gateway.kill('SIGTERM')
  expect(await exit).toEqual([0, null])
  rmSync(data, { recursive: true })
})
