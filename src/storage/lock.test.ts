import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { lockFolder } from './lock.ts'

test('a missing folder is made, for its owner alone', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'data', 'headgate')
  using _ = await lockFolder(path)
  expect((await stat(path)).mode & 0o777).toBe(0o700)
})

test('a locked folder is refused, with its name and the process that has it', async () => {
  await using folder = await temporaryFolder()
  using _ = await lockFolder(folder.path)
  await expect(lockFolder(folder.path)).rejects.toThrow(
    `The data folder ${folder.path} is in use by another Headgate (process ${process.pid} `,
  )
})

test('a lock is given back by its disposal, and disposing twice takes it from nobody', async () => {
  await using folder = await temporaryFolder()
  const first = await lockFolder(folder.path)
  first[Symbol.dispose]()
  using _ = await lockFolder(folder.path)
  first[Symbol.dispose]()
  await expect(lockFolder(folder.path)).rejects.toThrow('in use')
})

test('a lock of another process holds until that is killed, and is free at once', async () => {
  await using folder = await temporaryFolder()
  const child = holder(folder.path)
  await once(child.stdout!, 'data')
  await expect(lockFolder(folder.path)).rejects.toThrow(`in use by another Headgate (process ${child.pid} `)
  child.kill('SIGKILL')
  await once(child, 'exit')
  using _ = await lockFolder(folder.path)
})

test('a lock holds although nobody refers to it', async () => {
  await using folder = await temporaryFolder()
  await lockFolder(folder.path)
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  for (let round = 0; round < 5; round++) {
    collectGarbage()
    await new Promise(setImmediate)
  }
  await expect(lockFolder(folder.path)).rejects.toThrow('in use')
})

test.each([
  ['a file', 'file', 'there is a file of that name'],
  ['in a file', 'file/folder', 'a part of its path is a file'],
  ['with something else in the place of its lock', '.', 'cannot write in it'],
])('a folder that is %s is refused, with the reason', async (_, path, reason) => {
  await using folder = await temporaryFolder()
  await writeFile(join(folder.path, 'file'), '')
  await lockFolder(join(folder.path, 'lock')).then(lock => lock[Symbol.dispose]())
  const wanted = join(folder.path, path)
  await expect(lockFolder(wanted)).rejects.toThrow(`The data folder ${wanted} cannot be used: `)
  await expect(lockFolder(wanted)).rejects.toThrow(reason)
})

function temporaryFolder() {
  return mkdtempDisposable(join(tmpdir(), 'headgate-'))
}

function holder(path: string): ChildProcess {
  const program = `
    import { lockFolder } from ${JSON.stringify(new URL('./lock.ts', import.meta.url).href)}
    await lockFolder(${JSON.stringify(path)})
    console.log('locked')
    process.stdin.resume()
  `
  return spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['pipe', 'pipe', 'inherit'] })
}
