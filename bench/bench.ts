import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { pinMyself } from './cores.ts'
import { fileSystemOf } from './disk.ts'
import { percentile, shown } from './figures.ts'
import { reportProfiles } from './profile.ts'
import { resultTable, targetTable } from './report.ts'
import { type Plan, type Results, runRounds } from './rounds.ts'
import { loadOf, saveResults } from './save.ts'
import { scenarios } from './scenarios.ts'
import { direct, late, relay } from './subjects/bare.ts'
import { headgate } from './subjects/headgate.ts'
import { many } from './subjects/many.ts'
import { nginx } from './subjects/nginx.ts'
import { portkey } from './subjects/portkey.ts'
import type { Subject } from './subjects/subject.ts'

/** Headgate beside what else stands between a client and an upstream, in one run. README.md beside this file says how to read it. */
const subjects: readonly Subject[] = [direct, nginx, relay, late, headgate, many, portkey]
const resultsFolder = join(import.meta.dirname, 'results')

const warmUpMs = 6_000

const options = {
  only: { type: 'string', default: '' },
  rounds: { type: 'string', default: '5' },
  quick: { type: 'boolean', default: false },
  profile: { type: 'boolean', default: false },
  save: { type: 'boolean', default: false },
  folder: { type: 'string', default: tmpdir() },
} as const

try {
  await run(parseArgs({ options }).values)
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

type Said = ReturnType<typeof parseArgs<{ options: typeof options }>>['values']

async function run(said: Said): Promise<void> {
  pinMyself()
  const machine = `${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}, ${fileSystemOf(said.folder)}`
  const chosen = choose(said.only === '' ? [] : said.only.split(','))
  for (const { name, missing } of chosen.subjects) if (missing !== undefined) console.log(`Without ${name}: ${missing}.`)
  const present = chosen.subjects.filter(({ missing }) => missing === undefined)
  const rounds = said.quick ? 1 : Number(said.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds is ${said.rounds}; it takes a whole number from 1`)
  const folder = mkdtempSync(join(said.folder, 'headgate-bench-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130))
  const progress = (line: string) => void process.stderr.write(`${new Date().toTimeString().slice(0, 8)}  ${line}\n`)
  const plan: Plan = { subjects: present, scenarios: chosen.scenarios, rounds, warmUpMs, folder, profiled: said.profile, progress }
  const results = await runRounds(plan)
  if (results.struckOut.length > 0) process.exitCode = 1
  const at = new Date()
  const name = said.save ? at.toISOString().slice(0, 10) : 'latest'
  const paths = saveResults(resultsFolder, name, plan, { results, reading: { machine, at } })
  console.log(`${machine}\n${told(plan, results)}\n\nWritten: ${paths.map(path => relative('.', path)).join(', ')}`)
}

/** Names of subjects and scenarios, in any order; of which kind none is named, all are meant. `json` is every scenario that begins so. */
function choose(names: readonly string[]): Pick<Plan, 'subjects' | 'scenarios'> {
  const isMeant = ({ name }: { readonly name: string }) => names.some(one => name === one || name.replace(/\d+$/, '') === one)
  for (const name of names) {
    if ([...subjects, ...scenarios].some(one => one.name === name || one.name.replace(/\d+$/, '') === name)) continue
    const all = [...subjects, ...scenarios].map(one => one.name).join(', ')
    throw new Error(`--only names ${name}, which is neither a subject nor a scenario; there are ${all}`)
  }
  const some = { subjects: subjects.filter(isMeant), scenarios: scenarios.filter(isMeant) }
  return {
    subjects: some.subjects.length === 0 ? subjects.filter(({ onlyNamed = false }) => !onlyNamed) : some.subjects,
    scenarios: some.scenarios.length === 0 ? scenarios : some.scenarios,
  }
}

/** All that the run showed, as text. */
function told({ subjects, scenarios, rounds }: Plan, results: Results): string {
  const { commitsMs, loads, audits, profiles, struckOut } = results
  return [
    ...profiles.map(({ subject, calls, threads }) => `${reportProfiles(threads, join(resultsFolder, 'profiles', subject), calls)}\n`),
    `${loadOf(loads)}; rounds: ${rounds}, everybody in turn`,
    `one synced commit alone: p50 ${shown(percentile(commitsMs, 50))} ms, p99 ${shown(percentile(commitsMs, 99))} ms\n`,
    ...subjects.map(({ name, about }) => `${name}: ${about}`),
    ...subjects.flatMap(({ name, noStreams }) => (noStreams ? [`${name} is left out where answers are streamed: ${noStreams}`] : [])),
    `\n${resultTable(results, subjects, scenarios)}\n\n${targetTable(results)}\n`,
    ...audits,
    ...struckOut.map(line => `struck out, without figures: ${line}`),
  ].join('\n')
}
