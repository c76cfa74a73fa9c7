; What lease.rs computes (`outlast`, `Span::part`), in whole nanoseconds.
;
;   outlast(inner, ppm) = ceil(inner * (1000000 + ppm) / (1000000 - ppm))
;
; `div_ceil` is written out as what it is by definition: q = x div y, one more if anything is left.
; `fast` and `slow` are integers, inner * fast is `x`; that is all that is used of them.
(set-logic QF_NIA)
(declare-const inner Int)
(declare-const ppm Int)
(define-fun fast () Int (+ 1000000 ppm))
(define-fun slow () Int (- 1000000 ppm))
(declare-const x Int)
(declare-const q Int)
(declare-const rest Int)
(declare-const n Int)
(assert (and (>= inner 0) (<= 0 ppm) (<= ppm 100000)))
(assert (= x (* inner fast)))
(assert (and (= x (+ (* q slow) rest)) (<= 0 rest) (< rest slow)))
(assert (= n (ite (= rest 0) q (+ q 1))))

(echo "D * slow >= (H + kappa) * fast")
(push)
(assert (not (>= (* n slow) x)))
(check-sat) ; expect: unsat
(pop)

(echo "one nanosecond less does not do")
(push)
(assert (not (< (* (- n 1) slow) x)))
(check-sat) ; expect: unsat
(pop)

(echo "so it is the least: no smaller whole number does")
; m <= n - 1, written as n - 1 = m + d with d >= 0; d * slow >= 0 is given as a product of such numbers.
(push)
(declare-const m Int)
(declare-const d Int)
(assert (and (= (- n 1) (+ m d)) (>= d 0) (>= (* d slow) 0)))
(assert (>= (* m slow) x))
(check-sat) ; expect: unsat
(pop)
(push)
(declare-const d2 Int)
(assert (and (>= d2 0) (not (>= (* d2 slow) 0))))
(check-sat) ; expect: unsat
(pop)

(echo "rounded down instead, it fails for some timing")
(push)
(assert (and (= inner 455000000) (= ppm 1000)))
(assert (not (>= (* q slow) x)))
(check-sat) ; expect: sat
(get-value (inner ppm q n))
(pop)

(echo "the default: 455910911 ns")
(push)
(assert (and (= inner 455000000) (= ppm 1000) (not (= n 455910911))))
(check-sat) ; expect: unsat
(pop)

(echo "D is never shorter than H + kappa")
(push)
(assert (not (>= n inner)))
(check-sat) ; expect: unsat
(pop)

(echo "nothing overflows: a lease of 10 min, kappa as long, 100000 ppm; the product is below 2^128")
(push)
(assert (<= inner 1200000000000))
(assert (not (and (< x 340282366920938463463374607431768211456) (< n 18446744073709551616))))
(check-sat) ; expect: unsat
(pop)

; The parts of an interval that R-13 and R-14 use, each rounded up: i/2 and 3i/2.
(declare-const i Int)
(declare-const half Int)
(declare-const late Int)
(assert (> i 0))
(assert (and (<= i (* 2 half)) (< (* 2 half) (+ i 2))))
(assert (and (<= (* 3 i) (* 2 late)) (< (* 2 late) (+ (* 3 i) 2))))

(echo "an interval and an unnoticed lateness are together exactly 1.5 i as R-14 counts it")
(push)
(assert (not (= (+ i half) late)))
(check-sat) ; expect: unsat
(pop)
