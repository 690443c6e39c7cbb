import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { shown } from './figures.ts'
import { soak } from './soaking.ts'

/** Hours in a few minutes, or as many as are wanted: half the load that the gateway can bear, of every kind, and what is left afterwards. */
const options = { minutes: { type: 'string', default: '20' }, folder: { type: 'string', default: tmpdir() } } as const

try {
  const { minutes, folder } = parseArgs({ options }).values
  if (!/^\d+(\.\d+)?$/.test(minutes) || Number(minutes) === 0) throw new Error(`--minutes is ${minutes}; it takes a number above 0`)
  await run(Number(minutes), mkdtempSync(join(folder, 'headgate-soak-')))
} catch (error) {
  console.error(`bench:soak: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function run(minutes: number, folder: string): Promise<void> {
  console.log(
    `${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}; load average ${shown(loadavg()[0]!)}`,
  )
  try {
    const { growth, left, calls } = await soak({
      folder,
      ms: minutes * 60_000,
      everyMs: Math.min(60_000, minutes * 6_000),
      tell: console.log,
    })
    console.log(`\n${calls.toLocaleString('en')} calls; in the second half, by least squares, an hour would add`)
    console.log(`${shown(growth.rssMiB)} MiB resident, ${shown(growth.heldMiB)} MiB of heap and buffers, ${shown(growth.handles)} handles`)
    console.log(
      `left when all is over: ${Object.entries(left)
        .map(([name, count]) => `${name} ${count}`)
        .join(', ')}`,
    )
    const leaks = Object.entries(left).filter(([, count]) => count !== 0)
    if (leaks.length > 0) throw new Error(`not everything was given back: ${leaks.map(([name]) => name).join(', ')}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
