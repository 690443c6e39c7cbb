import { expect, test } from 'vitest'
import { type Listed, Roster } from './roster.ts'

class Member implements Listed {
  before: this | undefined
  after: this | undefined
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

test('it lists who came and has not gone, in the order of coming', () => {
  const roster = new Roster<Member>()
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(name => new Member(name)) as [Member, Member, Member, Member]
  expect([roster.size, roster.first, roster.all(), roster.has(a)]).toEqual([0, undefined, [], false])
  for (const member of [a, b, c]) roster.add(member)
  roster.add(b) // Again: once is enough.
  expect([roster.size, names(roster), roster.has(b), roster.has(d)]).toEqual([3, 'abc', true, false])
  roster.delete(d)
  roster.delete(b)
  roster.delete(b)
  expect([roster.size, names(roster), roster.first]).toEqual([2, 'ac', a])
  roster.add(b)
  roster.delete(a)
  expect([roster.size, names(roster), roster.first]).toEqual([2, 'cb', c])
  roster.delete(b)
  roster.delete(c)
  expect([roster.size, names(roster), roster.has(c)]).toEqual([0, '', false])
  roster.add(a)
  expect([roster.size, names(roster), roster.has(a)]).toEqual([1, 'a', true])
})

test('who is gone points at nobody, so that nobody is kept alive by it', () => {
  const roster = new Roster<Member>()
  const members = ['a', 'b', 'c'].map(name => new Member(name))
  for (const member of members) roster.add(member)
  for (const member of members) roster.delete(member)
  expect(members.flatMap(({ before, after }) => [before, after])).toEqual(Array(6).fill(undefined))
})

test('who leaves while all are told is told nevertheless', () => {
  const roster = new Roster<Member>()
  const members = ['a', 'b', 'c'].map(name => new Member(name))
  for (const member of members) roster.add(member)
  const told: string[] = []
  for (const member of roster.all()) {
    told.push(member.name)
    for (const each of members) roster.delete(each)
  }
  expect(told).toEqual(['a', 'b', 'c'])
})

function names(roster: Roster<Member>): string {
  return roster
    .all()
    .map(({ name }) => name)
    .join('')
}
