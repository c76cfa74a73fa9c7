; R-22: the steps of a change, by induction. Two candidates go from configuration to configuration, as their
; files change, and are started again. Where can they be at one time?
;
; `unsat` after a claim's negation: the claim holds. `sat`: there is a run from the beginning that breaks it.
;
; THE MODEL. A configuration is a number (its digest). A candidate is settled on one, toward another, or from
; another. Its clock is read at the beginning of a turn, after what came was taken in; readings rise. In a turn
; it may send, take any number of steps, and send again: all that bears the same reading, and so an echo of it
; may answer what was said before the step. Adverts are never removed: they arrive in any order, however late,
; more than once. (R-2 is not used: a step may rest on any accepted advert, not on the latest only.)
; An echo to an earlier incarnation is not one to this one: readings of a later incarnation are later ones.
; Witnesses only make a step wait longer. The condition on an own vote (change.smt2) and quarantine do no more.
(set-logic ALL)

(declare-datatypes ((Step 0))
  (((settled (s_in Int)) (toward (t_in Int) (t_next Int)) (from (f_in Int) (f_before Int)))))
(define-fun in_force ((x Step)) Int (ite ((_ is settled) x) (s_in x) (ite ((_ is toward) x) (t_in x) (f_in x))))
(declare-datatypes ((Word 0)) (((word (says Step) (echo Int) (sent_at Int)))))
(declare-datatypes ((Candidate 0)) (((A) (B))))
(define-fun other ((x Candidate)) Candidate (ite (= x A) B A))

; ---- What a state is: after so many moves ----------------------------------------------------
(declare-fun at (Candidate Int) Step)
(declare-fun now (Candidate Int) Int)        ; its latest reading
(declare-fun echoes (Candidate Int) Int)     ; the reading of the other's that it echoes
(declare-fun since (Candidate Int) Int)      ; the reading of its latest step
(declare-fun said (Candidate Int) (Array Word Bool))
; for the proof only: the other's latest reading when its own turn began, and when that of its latest step did
(declare-fun seen (Candidate Int) Int)
(declare-fun seen_then (Candidate Int) Int)

; Which rules are in force; all are, but where a run below shows what happens without one.
(declare-const waits Bool)        ; a step out of toward and from waits for the other candidate's word,
(declare-const answers Bool)      ; which echoes what was sent since the own latest step
(declare-const no_swap Bool)      ; who has c' in force and is on the way toward c is not as far
(declare-const no_leaver Bool)    ; no rule: who has c' in force and is on the way elsewhere is not as far

; ---- Who is accepted and as far (`is_followed_by`) -------------------------------------------
(define-fun as_far ((mine Step) (its Step)) Bool
  (ite ((_ is toward) mine)
    (or (= its mine)
        (and (= (in_force its) (t_next mine))
             (=> (and no_swap ((_ is toward) its)) (not (= (t_next its) (t_in mine))))
             (=> no_leaver (not ((_ is toward) its)))))
    (and ((_ is from) mine) (= (in_force its) (f_in mine)))))
; A word on which x may step in its present turn.
(define-fun lets_go ((x Candidate) (i Int) (w Word)) Bool
  (and (select (said (other x) i) w) (<= (sent_at w) (seen x i)) (as_far (at x i) (says w))
       (=> answers (>= (echo w) (since x i)))))

; ---- The moves of x from state i to state i + 1 -------------------------------------------------
(define-fun rests ((x Candidate) (i Int)) Bool (and
  (= (at x (+ i 1)) (at x i)) (= (now x (+ i 1)) (now x i)) (= (echoes x (+ i 1)) (echoes x i))
  (= (since x (+ i 1)) (since x i)) (= (said x (+ i 1)) (said x i)) (= (seen x (+ i 1)) (seen x i))
  (= (seen_then x (+ i 1)) (seen_then x i))))
(define-fun stays ((x Candidate) (i Int)) Bool (and
  (= (at x (+ i 1)) (at x i)) (= (since x (+ i 1)) (since x i)) (= (seen_then x (+ i 1)) (seen_then x i))))
(define-fun turn ((x Candidate) (i Int)) Bool (and (rests (other x) i) (stays x i)
  (< (now x i) (now x (+ i 1))) (= (seen x (+ i 1)) (now (other x) i)) (<= (echoes x (+ i 1)) (seen x (+ i 1)))
  (= (said x (+ i 1)) (said x i))))
(define-fun speaks ((x Candidate) (i Int)) Bool (and (rests (other x) i) (stays x i)
  (= (now x (+ i 1)) (now x i)) (= (seen x (+ i 1)) (seen x i)) (= (echoes x (+ i 1)) (echoes x i))
  (= (said x (+ i 1)) (store (said x i) (word (at x i) (echoes x i) (now x i)) true))))
(define-fun steps ((x Candidate) (i Int) (to Step)) Bool (and (rests (other x) i)
  (= (at x (+ i 1)) to) (= (since x (+ i 1)) (now x i)) (= (seen_then x (+ i 1)) (seen x i))
  (= (now x (+ i 1)) (now x i)) (= (seen x (+ i 1)) (seen x i)) (= (echoes x (+ i 1)) (echoes x i))
  (= (said x (+ i 1)) (said x i))))
(define-fun goes_toward ((x Candidate) (i Int) (d Int)) Bool
  (and ((_ is settled) (at x i)) (not (= d (s_in (at x i)))) (steps x i (toward (s_in (at x i)) d))))
(define-fun turns_back ((x Candidate) (i Int)) Bool
  (and ((_ is toward) (at x i)) (steps x i (settled (t_in (at x i))))))
(define-fun comes_from ((x Candidate) (i Int) (w Word)) Bool
  (and ((_ is toward) (at x i)) (=> waits (lets_go x i w)) (steps x i (from (t_next (at x i)) (t_in (at x i))))))
(define-fun settles ((x Candidate) (i Int) (w Word)) Bool
  (and ((_ is from) (at x i)) (=> waits (lets_go x i w)) (steps x i (settled (f_in (at x i))))))
; A later incarnation, with any file.
(define-fun starts_again ((x Candidate) (i Int) (file Int)) Bool (and (rests (other x) i)
  (= (at x (+ i 1)) (settled file)) (< (now x i) (now x (+ i 1))) (= (since x (+ i 1)) (now x (+ i 1)))
  (= (seen x (+ i 1)) (now (other x) i)) (= (seen_then x (+ i 1)) (seen x (+ i 1)))
  (<= (echoes x (+ i 1)) (seen x (+ i 1))) (= (said x (+ i 1)) (said x i))))
(declare-const d Int)
(declare-const w Word)
(define-fun moves ((x Candidate) (i Int)) Bool (or (turn x i) (speaks x i) (goes_toward x i d) (turns_back x i)
  (comes_from x i w) (settles x i w)))

(define-fun begins ((i Int)) Bool (and
  (= (at A i) (at B i)) ((_ is settled) (at A i)) (= (said A i) ((as const (Array Word Bool)) false))
  (= (said B i) (said A i)) (= (now A i) 0) (= (now B i) 1) (= (since A i) 0) (= (since B i) 1)
  (= (seen A i) 0) (= (seen B i) 0) (= (seen_then A i) 0) (= (seen_then B i) 0) (= (echoes A i) (- 1))
  (= (echoes B i) (- 1))))

; ---- The invariant --------------------------------------------------------------------------
; O: of a turn of one and a turn of the other, one began first: the later one has seen the earlier one's reading,
; and the earlier one has not seen the later one's. So for their present turns, and those of their latest steps.
(define-fun first ((r1 Int) (s1 Int) (r2 Int) (s2 Int)) Bool (and (<= r1 s2) (< s1 r2)))
(define-fun ordered ((r1 Int) (s1 Int) (r2 Int) (s2 Int)) Bool (or (first r1 s1 r2 s2) (first r2 s2 r1 s1)))
(define-fun stepped_first ((x Candidate) (i Int)) Bool
  (first (since x i) (seen_then x i) (since (other x) i) (seen_then (other x) i)))
(define-fun inv_order ((i Int)) Bool (and
  (ordered (now A i) (seen A i) (now B i) (seen B i)) (ordered (now A i) (seen A i) (since B i) (seen_then B i))
  (ordered (since A i) (seen_then A i) (now B i) (seen B i))
  (ordered (since A i) (seen_then A i) (since B i) (seen_then B i))))
; W: what was said in another state than the present one echoes nothing that was not seen at the latest step.
(define-fun present ((x Candidate) (i Int) (w Word)) Bool (and (= (says w) (at x i)) (>= (sent_at w) (since x i))))
(define-fun inv_words ((x Candidate) (i Int)) Bool (and
  (<= (since x i) (now x i)) (<= (seen_then x i) (seen x i)) (<= (seen x i) (now (other x) i))
  (<= (echoes x i) (seen x i))
  (forall ((w Word)) (=> (select (said x i) w) (and (<= (sent_at w) (now x i)) (<= (echo w) (seen x i))
    (or (present x i w) (<= (echo w) (seen_then x i))))))))
(define-fun inv_time ((i Int)) Bool (and (inv_order i) (inv_words A i) (inv_words B i)))
; P: where the two are. One configuration is in force at both, or one is from the other's.
(define-fun side_by_side ((x Step) (y Step)) Bool (or
  (and (= (in_force x) (in_force y)) (=> (and ((_ is from) x) ((_ is from) y)) (= x y)))
  (and ((_ is from) x) (= (f_before x) (in_force y)) (not ((_ is from) y)))
  (and ((_ is from) y) (= (f_before y) (in_force x)) (not ((_ is from) x)))))
(define-fun inv_places ((x Candidate) (i Int)) Bool (and
  (=> ((_ is toward) (at x i)) (not (= (t_in (at x i)) (t_next (at x i)))))
  (=> ((_ is from) (at x i)) (not (= (f_in (at x i)) (f_before (at x i)))))
  (side_by_side (at x i) (at (other x) i))
  ; one is settled on what the other still comes to: the other took its step first
  (=> (and ((_ is from) (at x i)) (= (in_force (at (other x) i)) (f_in (at x i))) (not ((_ is from) (at (other x) i))))
      (stepped_first x i))))
; F: what the other can be after a word that answers.
(define-fun inv_fresh ((x Candidate) (i Int)) Bool (let ((mine (at x i)) (its (at (other x) i)))
  (forall ((w Word)) (=> (and (select (said (other x) i) w) (>= (echo w) (since x i))) (and
    (=> (not ((_ is from) mine))
      (or (= (in_force (says w)) (in_force mine)) (and (present (other x) i w) ((_ is from) its))))
    (=> (and ((_ is toward) mine) (as_far mine (says w)) ((_ is from) its)) (= (f_in its) (t_next mine)))
    (=> (and (not ((_ is from) mine)) (>= (echo w) (now x i)) ((_ is toward) (says w)) ((_ is from) its)
             (= (f_before its) (in_force mine))) (= (f_in its) (t_next (says w))))
    (=> (and ((_ is from) mine) (= (in_force (says w)) (f_in mine)))
      (and (= (in_force its) (f_in mine)) (=> ((_ is from) its) (present (other x) i w))
        (=> (<= (sent_at w) (seen x i)) (forall ((v Word)) (=> (and (select (said (other x) i) v)
          (>= (echo v) (now x i))) (= (in_force (says v)) (f_in mine))))))))))))
(define-fun inv ((i Int)) Bool (and (inv_time i) (inv_places A i) (inv_places B i) (inv_fresh A i) (inv_fresh B i)))

; ---------------------------------------------------------------------------------------------
; 1. Nobody is started again: at one step, or side by side
; ---------------------------------------------------------------------------------------------
; `no_swap` and `no_leaver` are not needed: what they refuse is not there.
(push)
(assert (and waits answers (not no_swap) (not no_leaver)))
(echo "1. in the beginning the invariant holds")
(push)
(assert (and (begins 0) (not (inv 0))))
(check-sat) ; expect: unsat
(pop)
(assert (inv 0))
(echo "1. kept by a turn, and by an advert")
(push)
(assert (or (turn A 0) (turn B 0) (speaks A 0) (speaks B 0)))
(assert (not (inv 1)))
(check-sat) ; expect: unsat
(pop)
(echo "1. kept by a step that waits for nobody: toward, and back")
(push)
(assert (or (goes_toward A 0 d) (goes_toward B 0 d) (turns_back A 0) (turns_back B 0)))
(assert (not (inv 1)))
(check-sat) ; expect: unsat
(pop)
(echo "1. kept by the step out of toward")
(push)
(assert (or (comes_from A 0 w) (comes_from B 0 w)))
(assert (not (inv 1)))
(check-sat) ; expect: unsat
(pop)
(echo "1. kept by the step out of from")
(push)
(assert (or (settles A 0 w) (settles B 0 w)))
(assert (not (inv 1)))
(check-sat) ; expect: unsat
(pop)
(echo "1. so of two that are in force one is come to from the other; and who comes, comes from the same to the same")
(push)
(assert (and ((_ is from) (at A 0)) ((_ is from) (at B 0)) (not (= (at A 0) (at B 0)))))
(check-sat) ; expect: unsat
(pop)
(push)
(assert (not (= (in_force (at A 0)) (in_force (at B 0)))))
(assert (not (or (= (at A 0) (from (in_force (at A 0)) (in_force (at B 0))))
                 (= (at B 0) (from (in_force (at B 0)) (in_force (at A 0)))))))
(check-sat) ; expect: unsat
(pop)
(echo "1. kept by one that is started again before c' is in force there, with the file of c")
(push)
(define-fun starts_as_it_was ((x Candidate)) Bool
  (and (not ((_ is from) (at x 0))) (starts_again x 0 (in_force (at x 0)))))
(assert (or (starts_as_it_was A) (starts_as_it_was B)))
(assert (not (inv 1)))
(check-sat) ; expect: unsat
(pop)
(echo "1. an address that moves, by way of m: while one has c' in force the other has not c")
(push)
(declare-const c Int)
(declare-const m Int)
(declare-const c_next Int)
(assert (distinct c m c_next))
(assert (or (= (at A 0) (from c_next m)) (= (at A 0) (settled c_next))))
(push)
(assert (or (= (at B 0) (settled c)) (= (at B 0) (toward c m)) (= (at B 0) (from c m))))
(check-sat) ; expect: unsat
(pop)
(echo "1. it may, if the way back were not by way of m")
(assert (= (at B 0) (from c c_next)))
(check-sat) ; expect: sat
(pop)
(pop)

; ---------------------------------------------------------------------------------------------
; 2. Runs from the beginning
; ---------------------------------------------------------------------------------------------
(declare-const w2 Word)
(declare-const w3 Word)
(declare-const w4 Word)
(define-fun apart ((i Int)) Bool (not (side_by_side (at A i) (at B i))))
(define-fun crossed ((i Int)) Bool
  (and ((_ is from) (at A i)) ((_ is from) (at B i)) (not (= (in_force (at A i)) (in_force (at B i))))))

(echo "2. a change, to its end")
(push)
(assert (and waits answers no_swap no_leaver (begins 0)))
(assert (and (goes_toward A 0 1) (goes_toward B 1 1) (turn A 2) (speaks A 3) (turn B 4) (speaks B 5)))
(assert (and (comes_from B 6 w) (speaks B 7) (turn A 8) (comes_from A 9 w2) (speaks A 10)))
(assert (and (inv 6) (inv 7) (inv 10) (inv 16)))
(assert (and (turn B 11) (settles B 12 w3) (speaks B 13) (turn A 14) (settles A 15 w4)))
(check-sat) ; expect: sat
(pop)

(echo "2. without waiting, nobody started again: settled on c', beside one that has not read its file")
(push)
(assert (and (not waits) answers (begins 0)))
(assert (and (goes_toward A 0 1) (comes_from A 1 w) (settles A 2 w)))
(assert (apart 3))
(check-sat) ; expect: sat
(pop)

(echo "2. both files change twice, and each steps by a word that the other took back: without the echo")
(push)
(assert (and waits (begins 0)))
(assert (and (goes_toward A 0 1) (speaks A 1) (turns_back A 2) (goes_toward A 3 2)))
(assert (and (goes_toward B 4 2) (speaks B 5) (turns_back B 6) (goes_toward B 7 1)))
(assert (and (turn A 8) (turn B 9) (comes_from A 10 w) (comes_from B 11 w2)))
(assert (crossed 12))
(push)
(assert answers)
(check-sat) ; expect: unsat
(pop)
(assert (not answers))
(check-sat) ; expect: sat
(pop)

(echo "2. without m: an address in its new group at one, and in its old group at the other")
(push)
(assert (and waits answers no_swap no_leaver (begins 0) (= (s_in (at A 0)) 0)))
(assert (and (goes_toward A 0 1) (goes_toward B 1 1) (turn B 2) (speaks B 3) (turn A 4) (comes_from A 5 w)))
(assert (and (= (in_force (at A 6)) 1) (= (in_force (at B 6)) 0)))
(check-sat) ; expect: sat
(pop)

(echo "2. started again in from, with the file of c': settled, beside one that is settled on c")
(push)
(assert (and waits answers no_swap no_leaver (begins 0) (= (s_in (at A 0)) 0)))
(assert (and (goes_toward A 0 1) (goes_toward B 1 1) (turn A 2) (speaks A 3) (turn B 4) (comes_from B 5 w)))
(assert (and (starts_again B 6 1) (turns_back A 7)))
(assert (apart 8))
(check-sat) ; expect: sat
(pop)

(echo "2. started again in from, with the file of c: the other settles by what was said before, and has a stranger")
(push)
(assert (and waits answers no_swap no_leaver (begins 0)))
(assert (and (goes_toward A 0 1) (goes_toward B 1 1) (turn A 2) (speaks A 3) (turn B 4) (speaks B 5)))
(assert (and (turn A 6) (comes_from A 7 w) (comes_from B 8 w2) (turn B 9) (speaks B 10) (turn A 11)))
(assert (and (starts_again B 12 (s_in (at A 0))) (settles A 13 w3)))
(assert (apart 14))
(check-sat) ; expect: sat
(pop)

; ---------------------------------------------------------------------------------------------
; 3. Started again, with any file: two in *from* have the same configuration in force
; ---------------------------------------------------------------------------------------------
; If not, each refuses the other, neither can turn back, and both wait until one is started again. (They share a
; voter all the same: part 1 of change.smt2. So it is a matter of service.) R-22 has `no_swap`, and not `no_leaver`: with
; it one that is back with c, and then given c', and one that is on the way from c' to c'' would wait for each other.
(define-fun inv_swap ((x Candidate) (i Int)) Bool (let ((mine (at x i)) (its (at (other x) i)))
  (forall ((w Word)) (=> (and (select (said (other x) i) w) (>= (echo w) (since x i)) ((_ is from) its)) (and
    (=> (and ((_ is toward) mine) (as_far mine (says w))) (= (f_in its) (t_next mine)))
    (=> (>= (echo w) (now x i)) (or (= (says w) its) (= (says w) (toward (f_before its) (f_in its))))))))))
(define-fun inv_again ((i Int)) Bool
  (and (inv_time i) (inv_swap A i) (inv_swap B i) (not (crossed i))))
; Nobody ever has another file than that of 0 or of 1.
(define-fun of_two ((x Int)) Bool (or (= x 0) (= x 1)))
(define-fun is_of_two ((x Step)) Bool (and (of_two (in_force x))
  (=> ((_ is toward) x) (= (t_next x) (- 1 (t_in x)))) (=> ((_ is from) x) (= (f_before x) (- 1 (f_in x))))))
(define-fun inv_two ((i Int)) Bool (and (is_of_two (at A i)) (is_of_two (at B i))
  (forall ((w Word)) (=> (or (select (said A i) w) (select (said B i) w)) (is_of_two (says w))))))
(declare-const file Int)
(define-fun any_move () Bool
  (or (moves A 0) (moves B 0) (starts_again A 0 file) (starts_again B 0 file)))

(echo "3. who is on the way elsewhere is not as far: kept by every move, and there in the beginning")
(push)
(assert (and waits answers no_leaver))
(push)
(assert (and (begins 0) (not (inv_again 0))))
(check-sat) ; expect: unsat
(pop)
(assert (and (inv_again 0) any_move (not (inv_again 1))))
(check-sat) ; expect: unsat
(pop)

(echo "3. two files: enough if who is on the way toward c is not as far")
(push)
(assert (and waits answers no_swap (not no_leaver)))
(assert (and (inv_again 0) (inv_two 0) (of_two d) (of_two file) any_move))
(assert (not (and (inv_again 1) (inv_two 1))))
(check-sat) ; expect: unsat
(pop)

(echo "3. B was started with the new file; then A's file becomes the new one, and B's the former one")
(push)
(assert (and waits answers (not no_leaver) (begins 0) (= (s_in (at A 0)) 0)))
(assert (and (starts_again B 0 1) (goes_toward A 1 1) (goes_toward B 2 0) (turn A 3) (speaks A 4)))
(assert (and (turn B 5) (speaks B 6) (comes_from B 7 w) (turn A 8) (comes_from A 9 w2)))
(assert (crossed 10))
(push)
(assert no_swap)
(check-sat) ; expect: unsat
(pop)
(assert (not no_swap))
(check-sat) ; expect: sat
(get-value ((at A 10) (at B 10)))
(pop)

(echo "3. with a third file, and a step that is held up: who goes toward c is not the only one that leaves")
(push)
(assert (and waits answers no_swap (begins 0) (= (s_in (at A 0)) 0)))
(assert (and (starts_again B 0 1) (goes_toward A 1 1) (turn B 2) (speaks B 3) (starts_again B 4 2)))
(assert (and (goes_toward B 5 0) (turn A 6) (speaks A 7) (turn B 8) (comes_from B 9 w) (comes_from A 10 w2)))
(assert (crossed 11))
(push)
(assert no_leaver)
(check-sat) ; expect: unsat
(pop)
(assert (not no_leaver))
(check-sat) ; expect: sat
(get-value ((at A 11) (at B 11)))
(pop)

(echo "3. one that was started again with c' is as far, with both of them")
(push)
(assert (and waits answers no_swap no_leaver (begins 0) (= (s_in (at A 0)) 0)))
(assert (and (starts_again B 0 1) (goes_toward A 1 1) (turn B 2) (speaks B 3) (turn A 4) (comes_from A 5 w)))
(check-sat) ; expect: sat
(pop)
