import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { openSim } from '../sim/sim.ts'
import { connectApi, pathOf } from '../src/cli/client.ts'
import { readConfig } from '../src/config.ts'
import { open } from '../src/main.ts'
import { send } from './client.ts'
import { foldersKept, type Kept, secretKey } from './data-folders.ts'

for (const name of readdirSync(foldersKept)) {
  test(`the data folder of "${name}" opens with the newest code: its calls, its money and its keys are there`, async () => {
    await using scope = new AsyncDisposableStack()
    const folder = mkdtempSync(join(tmpdir(), 'headgate-upgrade-'))
    scope.defer(() => rmSync(folder, { recursive: true, force: true }))
    cpSync(join(foldersKept, name, 'headgate.db'), join(folder, 'headgate.db'))
    const kept: Kept = JSON.parse(readFileSync(join(foldersKept, name, 'kept.json'), 'utf8'))
    const served = await open(configFor(folder))
    scope.defer(() => served.stop())
    const api = connectApi({ url: served.url, adminToken: served.adminToken, data: folder })

    const usage = await api.list(pathOf('usage'), {}, 100)
    const calls = usage.items.map(({ id, ended }) => ({ id, ended }))
    expect(calls).toEqual(kept.calls.map(({ id, ended }) => ({ id, ended })).reverse())
    const wallet = await served.gateway.ledger.free(String((await api.get(pathOf('users', kept.email)))['id']))
    expect(wallet).toEqual({ balance: BigInt(kept.balance), held: 0n })

    // Its upstream is long gone; with another address the sealed key still opens, and the client's key still works.
    const sim = scope.use(await openSim())
    await api.send('PATCH', pathOf('accounts', 'a1'), { baseUrl: `${sim.url}/v1` })
    const answer = await send({ url: served.url, key: kept.clientKey }, { body: '{"model":"sim","input":"still there?"}' })
    expect(answer.status).toBe(200)
    expect(sim.attempts[0]?.key).toBe('up-a1')
    expect(await served.gateway.ledger.check()).toEqual([])
  })
}

test('there is a folder to open', () => expect(readdirSync(foldersKept).length).toBeGreaterThan(0))

test('a folder with a newer schema is refused in a sentence, and left as it is', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-newer-'))
  mkdirSync(folder, { recursive: true })
  const served = await open(configFor(folder))
  await served.stop()
  const books = new DatabaseSync(join(folder, 'headgate.db'))
  books.exec(`insert into migrations (number, name, applied_at) values (99, 'from the future', 0)`)
  books.close()
  await expect(open(configFor(folder))).rejects.toThrow(/schema 99|has schema|newer/)
  expect(existsSync(join(folder, 'headgate.db'))).toBe(true)
  rmSync(folder, { recursive: true })
})

function configFor(folder: string) {
  const env = { HEADGATE_SECRET_KEY: secretKey, HEADGATE_LOG_LEVEL: 'silent', HEADGATE_STOP_NOTICE_MS: '0', HEADGATE_LISTEN: '127.0.0.1:0' }
  return readConfig({ env: { ...env, HEADGATE_DATA: folder }, flags: {}, cwd: folder })
}
