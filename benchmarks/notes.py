"""What limits a case, or how to read a group, said by hand beside the tables of the page.

By group, then by case; "" stands for the whole group. What the house does is timed by the tables,
and not here; what was tried and is not in the house has no command any more: its figures stand
here, by hand, with the kind of machine.
"""

from __future__ import annotations

from collections.abc import Mapping

NOTES: Mapping[str, Mapping[str, str]] = {
    "fused": {
        "": "NumPy has no erf, and is given ours. JAX and compiled PyTorch can't be given an "
        "output, and a fresh one of 16 MiB comes from the system page by page. With 32 MiB of "
        "last-level cache the copy beside ours never leaves it, and arithmetic shows: on a Zen 3, "
        "a copy that stays in the first cache takes 0.31 ns for eight float32, and one division "
        "0.93. `x / (1 + exp(-x))` takes 7.0 ns with one vector in flight, 5.1 with two, 4.1 with "
        "four (126 instructions for four vectors, 18 of them for want of registers), and 3.6 with "
        "the sum joined to the exponential, which is how it is now. A range reduction in one step "
        "would make that 2.4, but errs by |x| eps, and serves only 1 + tanh(x), where 1 hides "
        "that. exp alone of what is not positive: 3.1, 2.2 and 2.3 ns, and 1.95 with ln 2 taken "
        "off in one step, as now; five terms and not six: 1.87, but 1 ulp worse. erf: 8.1, 7.5 "
        "and 4.7. A quotient x P(x^2) / Q(x^2) for erf takes a third less, but errs by 2.8 to 3.7 "
        "eps of 1 + erf, beyond the 2 ulp of erf that are promised: roundings add up. A maximum "
        "that need not carry NaN gains nothing that can be told. Two things made memory's part "
        "smaller on the Zen 3. NumPy's large arrays begin 16 bytes into a page and ours began 64 "
        "bytes into one, so that loops stored a little ahead of their loads as far as the last 12 "
        "bits of an address tell, and waited; now ours begin in the middle of a page (polynomial "
        "root: 1.11 to 0.93 ms in one comparison, 1.17 to 0.98 in another; a plain copy, which "
        "loads long before it stores: no gain). And a row of several passes asks for the next "
        "row's lines bit by bit in its second pass, which computes, where it asked for all of "
        "them at once between two passes: softmax 1.55 to 1.22 ms, RMS norm 1.13 to 0.95, layer "
        "norm 1.30 to 1.12 (0.02 later or earlier in the passes, and in turns of 128 to 512 "
        "columns). Lines asked for 2, 4 or 8 KiB ahead in single passes: polynomial root 0.99 to "
        "1.03 times as fast, silu 0.97 to 0.99, Adam 0.98 to 1.02, swiglu 0.86 to 0.92. Where a "
        "call's arrays fill the last cache, as they do here, a result goes past it, by whole "
        "vectors: LLVM makes such stores of a loop only if it is told that they are aligned. Side "
        "by side with the same programs without: log-softmax 1.3 times as fast, layer norm 1.35 "
        "to 1.5, RMS norm 1.1 to 1.4, polynomial root 0.85 (once, while nobody else used the last "
        "cache) to 1.3, swiglu 1.2, softmax 1.05 to 1.15, silu 1.04 to 1.09, gelu 1.0 to 1.07; "
        "haversine 1.0 and Black-Scholes 0.8 to 0.98, so what has more than one function an "
        "element does not. At half of the last cache and less, asking for the output's lines "
        "beforehand costs 2 to 10 %. And two places far apart, read at once, bring more lines "
        "than one: row distances 1.23 times as fast with two, 1.29 with four (neighbouring rows "
        "at once, two: 0.96, four: 1.03; far rows in turns, two: 1.02, four: 0.94); polynomial "
        "root 1.2 to 1.3 with plain stores, and 1.36 to 1.38 past the cache; swiglu past the "
        "cache 0.6 to 0.78, for want of registers. `in cache` is the program's own code over as "
        "many elements, stored as they come, on rows that stay in each thread's first cache: its "
        "instructions alone, as `f.explain(x, measure=True)` shows for any fused function. No way "
        "of moving data makes a call faster than that, nor than the faster of two copies, one of "
        "them with stores past the caches.",
        "gelu erf": "Its instructions alone, in the first cache, take longer than 1.35 copies. "
        "One polynomial in a shifted square, for 1 + erf(x), would be some 21 instructions and "
        "not 28, but with 14 or 15 terms errs by 2.9 eps of 1 + erf(x) in float32.",
        "softmax": "Timed side by side, each with the half page between input and output, in ms: "
        "the next row's lines asked for at once 1.55, of the input bit by bit 1.39, of input and "
        "output 1.57, the same with exponentials in a row of their own 1.63 to 1.89; the next "
        "row's maximum taken in turns with this one's exponentials 1.59; rows finished in a row "
        "of their own and written past the caches, at the row's end 1.65, in turns with the next "
        "row's exponentials 1.42 to 1.47. Its instructions alone take as long as a copy, or "
        "longer.",
        "log-softmax": "As for softmax: its instructions alone take longer than a copy, and a "
        "call takes hardly longer than they. Of 1.05 ms in the first cache, exponentials and "
        "their sum take 0.67, the maximum 0.12; asking for the next row in two turns adds up to "
        "0.17. Other ways, where rows stored as they come took 1 and past the cache 1.28: the "
        "output's lines asked for in the second pass 1.16, x less its maximum left in the output "
        "1.2; past the cache with the next row asked for in the first pass 1.08, in the last 1.2, "
        "in one turn 1.21, two vectors at once and not four 1.36 and then 1.33 against 1.29, but "
        "softmax and cross-entropy lose 4 to 8 % by that.",
        "cross-entropy": "It writes next to nothing, and its instructions alone take several "
        "times a copy of the half as many bytes that it reads: an exponential an element, a "
        "maximum, and a comparison for the label.",
        "RMS norm": "Computing in the first cache takes less than half of a copy's time: it waits "
        "for memory, as plain Numba's loop does. The output's lines asked for before they are "
        "written, a row or a pass ahead: 0.93 and 1.07 times as fast.",
        "row distances": "Computing takes a quarter of the time. Rows one at a time, lines asked "
        "for a row or two ahead: 0.88 to 1.03 times as fast; to read both arrays, one after the "
        "other, and add them up, takes longer than the distances do.",
        "polynomial root": "Its instructions take half of its time, the rest is memory's. Plain "
        "Numba's loop is 1.04 to 1.06 times as fast as ours stored as it comes, in one place at a "
        "time; lines asked for 2, 4 or 8 KiB ahead gain nothing past the cache either.",
        "Adam step": "Ours and PyTorch's, the fused step of its optimizer, update in place: four "
        "arrays read and three of them written where they lie. The others write three arrays that "
        "they do not read: in place, plain Numba's loop would lose its vectors, for all that its "
        "compiler knows is that its arrays may overlap. Its time is that of moving these bytes; "
        "where in a page the three arrays begin makes no difference (2.52 to 2.63 ms, seven "
        "ways), nor do pages of 2 MiB or of 4 KiB, nor where in 2 MiB they begin (0.93 to 1.0 "
        "times as fast, nine ways). Fused adds and one division less: 1.01. Past the caches, "
        "weights alone 0.95, all three 0.65; lines asked for in bursts of 1 to 8 KiB an array "
        "0.78 to 0.85; two places at once 0.97 to 1.04, four 0.52; blocks of 2048 to a million "
        "1.0 to 1.02; threads taking blocks in turn 0.76 to 1.0.",
    },
    "linear": {
        "": "ONNX Runtime gets the weight as a constant and packs it once; ours, like PyTorch's "
        "and NumPy's, packs it in every call.",
    },
    "small": {
        "": "Small matrices are looked at, and multiplied, by a built-in function that reads "
        "NumPy's objects where they lie: on a Zen 3 a product of 8 x 8 takes 0.9 us that way, and "
        "2.1 where Numba's entry finds out the types of its arguments. Two things more served the "
        "narrow ones. In the tile that reads A where it lies, LLVM kept an address for every row, "
        "18 of 77 instructions for want of registers; kept from that, two steps take 66: 2000 x "
        "100 x 8 went from 65 us to 42 in one of two comparisons. Packing eight panels of B side "
        "by side reads rows that lie far apart several lines at a time: 16 x 64 x 4096 went from "
        "121 us to 91. What did not help: of all ways to pack, cut and share eight narrow "
        "products and batches, tried one by one, none was faster than the plan's by more than one "
        "plan differs from itself (4 to 18 %), but for 64 x 256 x 2048, where the trials "
        "disagree. The batches' operands come from the last cache: 64 products of 64 x 64 run at "
        "four fifths of the speed of one that stays near.",
    },
    "sparse": {
        "": "GFLOP/s count what is not zero. SciPy runs on one thread and makes an output in every "
        "call, and so does PyTorch; both are given the weight turned, (outputs, inputs), and the "
        "activations likewise, as suits them. Single weights (CSR) each load their input's tokens "
        "from the second cache and use them once: that cache, and not arithmetic, binds them, at a "
        "third or so of the dense product's speed. A block's four outputs share each load. "
        "`tito bench sparse` finds the share of zeros from which a format beats dense.",
    },
    "int8": {
        "": "Ours takes one scale for each row of activations, the peers one for all of them. On a "
        "CPU without INT8 dot products (VNNI), codes are multiplied in pairs, added in int16 and "
        "widened: several instructions that share the ports of the one that float32 takes. The "
        "peak beside ours is that of those instructions on operands in the first cache; it, and "
        "not four times float32, is the ceiling there. Our float32's time divided by the peak's "
        "is the most that a layer could gain, so 2.5 times float32 would take nearly all of the "
        "peak. Six multiplying instructions for 128 multiply-adds, where float32 takes one for 8, "
        "and two of either a cycle, make 2.7 times; all instructions counted, 11.0 multiply-adds "
        "each against 4.8, 2.3 times, and that binds a core whose neighbour shares its supply of "
        "instructions. Register tiles and ways of summing were timed on a Zen 3, two cores at "
        "once, in 10^9 multiply-adds a second and core (float32: 51). One sum in int16 of 16 "
        "codes, with a constant that centres it: 93 in tiles of 4 x 2 vectors, 101 in 3 x 3, 99 "
        "to 104 in 2 x 4. Two sums of 8 codes, without: 102, 107 and 109. The last is ours now: "
        "layers are 13 to 19 % faster for it than with the first. One sum of 16 without a "
        "constant, which the peak's small weights allow, makes 104, 112 and 117. Activations "
        "spread by shuffles of one load instead of four loads: 0 to 5 % more with constants, "
        "nothing without. Weights kept in registers for three rows: 3 % more than 4 x 2. Asking "
        "for lines of the output before its sums are made gains 3 % at 4096 tokens; settling sums "
        "straight into the output 2 to 6 %. Sums "
        "that may pass int16 are widened in parts, without constants, so weights are no larger "
        "than their codes; zeros are taken off by a fused product in float32, which with lines "
        "asked for a few at a time brings a layer from 0.68 to 0.77 of the peak to 0.73 to 0.81. "
        "On one thread of a Zen 3 whose neighbours are busy, a layer 384 deep is at 0.72 of the "
        "peak, without settling its sums at 0.76; its tiles alone, before, at 0.76, with all sums "
        "of 16 codes (wrong, but timed) at 0.83, and then without asking for lines at 0.90. One "
        "sum of 32 codes, centred by constants, in tiles of 1 x 6 and 1 x 8 vectors takes a "
        "tenth fewer instructions, and is mostly not faster than two sums of 8. Asking for the "
        "next rows' codes gains nothing. With VNNI, on a Zen 5, tiles of 14 x 2 vectors and of "
        "8 x 2 reach the same peak (145 and 147 on two threads at its clock of that hour), and "
        "a layer of 128 tokens takes 8 to 14 % less time in the lower ones, which leave no rows "
        "of 16, 64 or 128 over; of 1024 tokens 2 %. A call's numbers in memory, and addresses "
        "asked for in another way, took its fixed cost from 129 us to 69 there.",
    },
    "training": {
        "": "PyTorch has one projection for queries, keys and values, and fused optimizers; ours "
        "is the model as a user writes it. Losses of the first 20 steps agree to 1e-4 before "
        "anything is timed. The small MLP and the CNN train under `auto`, whose products are the "
        "library's; the others under `native`, where they run on the threads of the kernels "
        "between them. Seven tenths of our GPT's step are products, "
        "and attention with its gradient a tenth. At the larger MLP's speed the small one's "
        "products would take 0.3 ms: the rest of its step is calls.",
    },
    "minilm": {
        "": "Ours runs all layers in one compiled call. Three ways were held against each other "
        "on a Zen 3 with 2 threads, at 1x16, 1x128, 8x128 and 32x128 tokens: one call for "
        "each op (9.7, 33, 228 and 820 ms); shares of rows that meet once a layer, or not "
        "at all where they are whole sequences (6.4, 22, 170 and 715 ms); and, for few "
        "rows, shares of the columns of each weight that meet after each product (4.2 ms at "
        "1x16, where each thread otherwise reads all 42 MB of weights). What is left is the "
        "products' own speed. On one quiet thread, in blocks of 72 rows, the products by each of "
        "a layer's weights run at 93 to 96 GFLOP/s, of the 102 that registers alone reach; at "
        "8x128 attention is 5 to 8 % of the time, GELU 1 to 2, norms too little to tell. The "
        "column float32 peak is as many multiply-adds as the products have, of registers, and "
        "nothing else. Three more ways were tried for the products, in turns with what is there: "
        "the next panel of weights asked for into the second cache, a part with every two tiles "
        "(0.85 to 0.96 times as fast, in blocks of 48 or 96 rows 0.86 to 0.99); panels of 12 KiB "
        "(0.93 to 0.98); and of 16 KiB (0.92 to 1.00), where 24 KiB leave the first cache little "
        "room beside them.",
    },
    "minilm8": {
        "": "Codes of activations have 7 bits where the CPU lacks INT8 dot products (VNNI), for "
        "8 bits would need 16-bit products, of half as many numbers each. So that 7 bits "
        "are enough, each channel is divided by a factor that evens them out. Four ways "
        "were tried on a Zen 3, at 1x16, 8x128 and 32x128: one call for each op with "
        "queries, keys and values in float32 and the rest in 8 bits (10, 174 and 650 ms); "
        "the same products in compiled layers (3.9, 155 and 576 ms); all products in evened "
        "7 bits (2.8, 113 and 440 ms); and these with the wide tiles of the table of INT8 layers "
        "(2.7, 91 and 390 ms). The fifth is how it is now: rows become codes where they are made, "
        "and sums are added or activated as they are settled. In turns with the fourth, on 2 "
        "threads, it was 1.07, 1.12 and 1.09 times as fast (1x128: 1.10, sentences: 1.10). With "
        "all weights in codes up to 85, where sums of 8 products nearly always fit int16, it was "
        "another 1.02 to 1.04; now the inner layer's two are, for the least cosine of twenty short "
        "sentences to float32 is then 0.990 (before either, 0.987). "
        "The column INT8 peak is as many multiply-adds as the products have, "
        "of the tile on operands in the first cache: no attention, norm, GELU or rounding, and no "
        "weights read from memory. Without VNNI, 16 multiply-adds of a lane "
        "take 9 instructions at best, 5 of which multiply, and with it 4. Best peer / floor is "
        "the most that could be reached here against ONNX Runtime in float32. On one thread, the "
        "tile reaches 133 billion multiply-adds a second; over a layer's "
        "real weights 115 with codes up to 127 (four records in five need two sums in int16) and "
        "128 with 85; but for 16 rows 97 and 103, for weights come from the last cache. Left out "
        "one at a time on one thread at 8x128, wrong but timed, in units of the products at the "
        "peak: attention takes 0.27, settling 0.22, weights that come from the last cache 0.06, "
        "norms and codes too little to tell. Not kept: an activation's codes in 2 parts and not "
        "4, fewer sums to settle (1.02 to 1.05 times as fast, but 1 - cosine is a quarter more), "
        "and columns for threads at 1x128 (0.97).",
    },
    "generation": {
        "": "A step is one compiled call on keys and values where they lie, the threads sharing "
        "the columns of the weights. Before, a step was some sixty calls of ops from "
        "Python, and took twice PyTorch's time.",
    },
    "house": {
        "a process's first call": "Most of it is imports. Four ways were measured on a Zen "
        "3 on which NumPy's import takes 0.15 to 0.2 s and Numba's 0.45 to 0.6: Numba as it is, "
        "with its cache (1.4 to 1.7 s, though without Python's own bytecode kept); the same "
        "without what only compiling needs, which is loaded when something is compiled (0.85 to "
        "1.0); and besides, what few users of Numba need put off until it is used (YAML, the "
        "metadata of what is installed, SciPy's version, its classes, NumPy's masked arrays), "
        "no folder made for a function before it is looked for, and no garbage looked for among "
        "what imports make (0.54 to 0.83). Now machine code is loaded as the object file that "
        "it is: Numba parses its bitcode too, for whatever may inline it (6 ms a function; 1.2 "
        "without), and compiles its runtime (30 ms), of which each object file holds what it "
        "needs (0.50 to 0.66). Of 0.48 s before a process with one product ends, NumPy is 0.11, "
        "what is left of Numba's import 0.17, LLVM's library 0.05, a hash of the sources 0.012, "
        "the product's routines, shared loop and pool 0.05. To end takes another 0.1: Python "
        "looks for garbage, and frees what Numba's modules are made of. To go without Numba, "
        "machine code would have to be kept with an entry of our own, which finds out the types "
        "of arguments as Numba's does.",
        "dispatch through auto": "A call is told from others by class, shape, strides and dtype of "
        "each array: to read and look up those of two arrays is most of a dispatch, and the "
        "yardstick beside it. Five ways of it were timed on a Zen 3, beyond the kernel's call, the "
        "least of nine: the key from a function (0.87 us), written out where it is used (0.69), "
        "each array's by one attrgetter (0.83), dtypes compared after the look-up (0.82), and the "
        "call compared with the last one alone (0.64, which forgets at each change of shape). "
        "Compiled code could do it, but would make NumPy's products wait for Numba's import.",
        "recording": "What is the interpreter's own doubles while another guest works on the same "
        "core, from sample to sample: the least is what an undisturbed core takes. Of 2.3 us, "
        "0.8 is the dispatch, 0.7 the node with its edges and the result's Tensor, 0.3 what the "
        "rule keeps, 0.2 the array that a number becomes; frames are the rest. Tried without a "
        "gain on x + y and x * 2.0: both functions on the way in one, nodes without a call of "
        "their class, one attrgetter for each array's part of the key.",
    },
}
