/** DNS messages: what is written, what is read, and that nothing which may come can do harm. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { queryName, readAnswer, writeQuery, type DnsQuestion } from '../../src/probes/dns-message.js';

const question: DnsQuestion = { id: 0x1234, name: 'www.example.com', family: 4 };
const NAME = '0377777707657861 6d706c6503636f6d00';

describe('a DNS message', () => {
  test('is written as RFC 1035 has it', () => {
    assert.equal(writeQuery(question).toString('hex'), bytes(`1234 0100 0001 0000 0000 0000 ${NAME} 0001 0001`).toString('hex'));
    assert.equal(writeQuery({ ...question, family: 6 }).subarray(-4).toString('hex'), '001c0001');
  });

  test('is about a name in lower case and ASCII, or about none', () => {
    assert.equal(queryName('WWW.Example.COM.'), 'www.example.com');
    assert.equal(queryName('bücher.example'), 'xn--bcher-kva.example');
    assert.equal(queryName('_dns.resolver.arpa'), '_dns.resolver.arpa');
    for (const name of ['', '.', 'a..b', `${'x'.repeat(64)}.com`, Array(64).fill('abc').join('.'), 'a b.com']) assert.equal(queryName(name), undefined, name);
  });

  test('gives the addresses under the name, those of its aliases included, and the least of their times', () => {
    const answer = read(
      `${header(5)} ${NAME} 0001 0001`,
      'c00c 0005 0001 0000003c 0006 03 6f6e65 c010', // www → one.example.com, 60 s
      '036f6e65 c010 0005 0001 00000014 0006 03 74776f c010', // one → two, 20 s
      '0374776f c010 0001 0001 0000012c 0004 c0000201', // two: 192.0.2.1
      '0374776f c010 0001 0001 0000012c 0004 c0000202',
      '056f74686572 c010 0001 0001 00000001 0004 c0000203', // other.example.com is nobody's alias
    );
    assert.deepEqual(answer, { rcode: 0, truncated: false, addresses: ['192.0.2.1', '192.0.2.2'], ttlSeconds: 20, records: 5, broken: false });
  });

  test('that is not the answer to this very question is none', () => {
    const tail = `${NAME} 0001 0001 c00c 0001 0001 0000003c 0004 c0000201`;
    assert.deepEqual(read(header(1), tail)?.addresses, ['192.0.2.1']);
    assert.equal(read('1235 8180 0001 0001 0000 0000', tail), undefined, 'another id');
    assert.equal(read('1234 0100 0001 0001 0000 0000', tail), undefined, 'a query');
    assert.equal(read('1234 a980 0001 0001 0000 0000', tail), undefined, 'another kind of message');
    assert.equal(read(header(1), tail.replace('777777', '777778')), undefined, 'another name');
    assert.equal(read(header(1), tail.replace('0001 0001', '001c 0001')), undefined, 'another type');
    assert.equal(read(header(1), tail.replace('0001 0001', '0001 0003')), undefined, 'another class');
    assert.equal(read('1234 8180 0000 0000 0000 0000'), undefined, 'no question and no error');
    assert.equal(read('1234 8181 0000 0000 0000 0000')?.rcode, 1, 'no question, and a server that could not read it');
  });

  test('is read in any case of letters, and although the answer is cut off', () => {
    const tail = `${NAME.replace('777777', '575757')} 0001 0001 c00c 0001 0001 0000003c 0004 c0000201 c00c 0001 0001 0000003c 0004 c000`;
    assert.deepEqual(read('1234 8380 0001 0002 0000 0000', tail), { rcode: 0, truncated: true, addresses: ['192.0.2.1'], ttlSeconds: 60, records: 1, broken: true });
  });

  test('does not lead round in circles', () => {
    for (const owner of ['c00c', 'c021 ', 'c023', '0161 c021', 'c0ff', 'ffff', 'c0', '40', '80', `${'3f'.padEnd(128, '61')}`.repeat(5)]) {
      read(header(1), `${NAME} 0001 0001 ${owner} 0001 0001 0000003c 0004 c0000201`);
    }
    const loop = read(header(2), `${NAME} 0001 0001`, 'c00c 0005 0001 0000003c 0006 036f6e65 c010', '036f6e65 c010 0005 0001 0000003c 0002 c00c');
    assert.deepEqual(loop?.addresses, [], 'aliases of each other');
    const itself = read(header(1), `${NAME} 0001 0001`, 'c021 0001 0001 0000003c 0004 c0000201');
    assert.equal(itself?.broken, true, 'a name that points at itself');
  });

  test('whatever it is (20,000 seeded mutations) is read without a throw, and never beyond its end', () => {
    const seed = Number(process.env['SEED'] ?? 20261121);
    const dice = diceOf(seed);
    const good = bytes(
      `${header(4)} ${NAME} 0001 0001 c00c 0005 0001 0000003c 0006 036f6e65 c010 036f6e65 c010 0001 0001 0000003c 0004 c0000201`
      + ' 036f6e65 c010 001c 0001 0000003c 0010 20010db8000000000000000000000001 c00c 0010 0001 00000000 0003 026869',
    );
    let understood = 0;
    for (let i = 0; i < 20_000; i++) {
      const packet = Buffer.from(good.subarray(0, dice(4) === 0 ? dice(good.length + 1) : good.length));
      for (let n = dice(6); n > 0 && packet.length > 0; n--) packet[dice(4) === 0 ? dice(packet.length) : Math.min(packet.length - 1, 12 + dice(packet.length))] = dice(3) === 0 ? 0xc0 | dice(4) : dice(256);
      const answer = readAnswer(packet, { ...question, family: dice(2) === 0 ? 4 : 6 });
      if (answer === undefined) continue;
      understood++;
      assert.ok(answer.records <= packet.length / 11 && answer.addresses.length <= answer.records, `seed ${seed}, packet ${packet.toString('hex')}`);
    }
    assert.ok(understood > 1000, `only ${understood} of the mutations were of use`);
  });

  test('of the largest size, made of nothing but pointers, is read to an end', () => {
    const chain = Buffer.alloc(65_535);
    bytes(`${header(65_535)} ${NAME} 0001 0001`).copy(chain);
    for (let at = 33; at + 1 < 16_384; at += 2) chain.writeUInt16BE(0xc000 | (at - 2), at);
    assert.deepEqual(readAnswer(chain, question)?.addresses ?? [], []);
  });
});

function header(answers: number): string {
  return `1234 8180 0001 ${answers.toString(16).padStart(4, '0')} 0000 0000`;
}

function read(...hex: readonly string[]): ReturnType<typeof readAnswer> {
  return readAnswer(bytes(hex.join('')), question);
}

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

/** xorshift32: whole numbers below `sides`. */
function diceOf(seed: number): (sides: number) => number {
  let x = seed | 1;
  return (sides) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % sides;
  };
}
