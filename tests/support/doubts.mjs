// Feed streams of readings to the rule of the teacher's page: node doubts.mjs ADDRESS_OF_MODULE < STREAMS > DOUBTS
import { stdin, stdout } from "node:process";

const { Doubts, DOUBTS, touchesBands, touchesESense, wordsOf } = await import(process.argv[2]);
let text = "";
for await (const part of stdin.setEncoding("utf8")) text += part;
const doubts = JSON.parse(text).map((readings) => {
  const ofStream = new Doubts();
  return readings.map((reading) => [ofStream.add(reading), ofStream.same]);
});
const words = Object.fromEntries(
  ["en", "pt-BR"].map((language) => [language, Object.fromEntries(DOUBTS.map((each) => [each, wordsOf(each, language)]))]),
);
const touched = Object.fromEntries(DOUBTS.map((each) => [each, [touchesESense(each), touchesBands(each)]]));
stdout.write(JSON.stringify({ doubts, words, touched, none: [touchesESense(null), touchesBands(null)] }));
