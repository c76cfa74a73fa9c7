; R-22, `majority`: a change after which other members decide. Two candidates, A and B, have c in force and
; go to c', which has other witnesses, and may have another lease. Can A hold by the votes of c alone while B
; holds by those of c' alone? No: part 1 says that no other two holds are without a shared voter, and part 2 that
; these two are never at one time, because of two conditions:
;
;   vote_first   Who settles on c', or ends its doubt, has its own vote bound to the other candidate if that says
;                that it holds (or holds itself).
;   short_first  Who comes from c has no lease left that ends later than one by the shorter H, asked for now.
;
; The rule once had neither, and the file keeps the four runs in which two came to hold: each condition taken away
; alone, and both.
;
; `unsat` after a claim's negation: the claim holds. `sat`: there is a run, and its instants are printed.
;
; WHAT IS ASSUMED, and asked elsewhere: that a vote which a hold counts is bound until that hold's gate is shut
; (induction.smt2 for one configuration, change-spans.smt2 for two timings); that A and B are at one step, or side
; by side, while they hold (change-steps.smt2); and that no voter gives its vote to two (R-4). Part 2 is not an
; induction: it takes one by one the ways in which B comes to hold by c' alone, and that list was made by hand.
(set-logic ALL)

; ---------------------------------------------------------------------------------------------
; 1. Majorities, for any number of members
; ---------------------------------------------------------------------------------------------
; Members are of three kinds: in c alone, in both, in c' alone; so many of each. A hold counts so many of each.
; Two holds of which no member gave its vote to both count no more of a kind than there are.
(declare-const only_c Int)
(declare-const both Int)
(declare-const only_d Int)      ; c', here and below: d
(declare-const a_c Int)
(declare-const a_both Int)
(declare-const a_d Int)
(declare-const b_c Int)
(declare-const b_both Int)
(declare-const b_d Int)
(define-fun counts ((c Int) (s Int) (d Int)) Bool
  (and (<= 0 c only_c) (<= 0 s both) (<= 0 d only_d)))
(define-fun two_alone () Bool   ; nobody's vote is counted twice
  (and (counts a_c a_both a_d) (counts b_c b_both b_d)
       (<= (+ a_c b_c) only_c) (<= (+ a_both b_both) both) (<= (+ a_d b_d) only_d)))
(define-fun by_c ((c Int) (s Int) (d Int)) Bool (and (= d 0) (> (* 2 (+ c s)) (+ only_c both))))
(define-fun by_d ((c Int) (s Int) (d Int)) Bool (and (= c 0) (> (* 2 (+ d s)) (+ only_d both))))
; In *from*: by c', and of the members that both have by c (`granted_in_both` in vote.rs).
(define-fun by_both ((c Int) (s Int) (d Int)) Bool (and (by_d c s d) (> (* 2 s) (+ only_c both))))
; `members_may_become` in change.rs: those in both are a majority of either; both candidates are.
(define-fun may_change () Bool (and (>= only_c 0) (>= only_d 0) (>= both 2)
  (> (* 2 both) (+ only_c both)) (> (* 2 both) (+ only_d both))))

(echo "1. two that hold by c, two in from, two that hold by c': some member voted for both")
(push)
(assert (and may_change two_alone))
(assert (or (and (by_c a_c a_both a_d) (by_c b_c b_both b_d))
            (and (by_both a_c a_both a_d) (by_both b_c b_both b_d))
            (and (by_d a_c a_both a_d) (by_d b_c b_both b_d))))
(check-sat) ; expect: unsat
(pop)

(echo "1. one in from, the other by c alone, or by c' alone: some member voted for both")
(push)
(assert (and may_change two_alone (by_both a_c a_both a_d)))
(assert (or (by_c b_c b_both b_d) (by_d b_c b_both b_d)))
(check-sat) ; expect: unsat
(pop)

(echo "1. without the majority by c in from: by c' is enough, and the other holds by c")
(push)
(assert (and may_change two_alone (by_d a_c a_both a_d) (by_c b_c b_both b_d)))
(assert (and (>= a_both 1) (>= b_both 1) (= only_c 1) (= only_d 1) (= both 2)))
(check-sat) ; expect: sat
(get-value (a_c a_both a_d b_c b_both b_d))
(pop)

(echo "1. one that was none of the former members counts for theirs")
(push)
(assert (and may_change two_alone (by_d a_c a_both a_d) (> (* 2 (+ a_both a_d)) (+ only_c both))))
(assert (and (by_c b_c b_both b_d) (>= a_both 1) (>= b_both 1)))
(check-sat) ; expect: sat
(get-value (only_c both only_d a_both a_d b_c b_both))
(pop)

(echo "1. one by c alone, the other by c' alone: that is what part 2 is about")
(push)
(assert (and may_change two_alone))
(assert (and (by_c a_c a_both a_d) (by_d b_c b_both b_d) (>= a_both 1) (>= b_both 1)))
(check-sat) ; expect: sat
(pop)

(echo "1. if those in both are no majority by c, nobody can hold in from")
(push)
(assert (and (>= only_c 0) (<= (* 2 both) (+ only_c both)) (counts a_c a_both a_d)))
(assert (by_both a_c a_both a_d))
(check-sat) ; expect: unsat
(pop)

; ---------------------------------------------------------------------------------------------
; 2. So one thing is left: A's lease by c alone lasts into *from*, and B has gone on to where c' is enough
; ---------------------------------------------------------------------------------------------
; True times are reals. As in induction.smt2, E is the greatest true length from an ask's sending to the shut
; gate, F the least one of D from an arrival, G the least one of quarantine. `0`: by the timing of c; `1`: by
; that of c'; who goes toward c' or comes from c takes leases by the shorter, and is bound by the longer.
(declare-const E0 Real)
(declare-const E1 Real)
(declare-const F0 Real)
(declare-const F1 Real)
(declare-const G Real)          ; R-9: earlier incarnations have recorded both leases
(assert (and (< 0.0 E0) (< 0.0 E1) (<= E0 F0) (<= E1 F1) (<= E0 G) (<= E1 G)))
(define-fun E_change () Real (ite (< E0 E1) E0 E1))
(define-fun F_change () Real (ite (< F0 F1) F1 F0))

; A: its ask, and when its gate is shut, of a lease by c alone; when it went toward c', and from c.
(declare-const a Real)
(declare-const shut Real)
(declare-const toward_A Real)
(declare-const from_A Real)
(declare-const taken_before Bool)      ; before A went toward c', so by the timing of c
(assert (<= toward_A from_A))
(assert (ite taken_before (and (<= a toward_A) (<= shut (+ a E0)))
                          (and (<= toward_A a from_A) (<= shut (+ a E_change)))))
; A's word: sent with c' in force, so since from_A; it echoes B's advert of `echo`. B accepts it at `heard`.
; A says in it that it asks and holds: else no lease by c alone is left, for all that it issued is over (R-5), and
; it takes none in *from*.
(declare-const echo_B Real)
(declare-const sent Real)
(declare-const heard Real)
(declare-const yields Bool)
(assert (and (<= from_A sent) (<= sent heard) (< echo_B sent) (< sent shut)))

; (If B itself holds when it goes on, then by c or in *from*, so by part 1 A is not effective any more.)
; B: it goes on by that word, which was its latest, at once or later. `doubts`: it has been started with the file of
; c', and ends its doubt; else it is in *from*, and settles. What B is bound by at that time, and hears by afterwards:
(declare-const doubts Bool)
(define-fun F_vote () Real (ite doubts F1 F_change))
(declare-const goes_on Real)
(assert (<= heard goes_on))
; B's own vote at `heard`. It is A's from then on if it is free, or is A's, and B is not in quarantine (R-4): A asks,
; and echoes what B sent since its step, or, of one that doubts, less than D ago.
; Else it is bound to an earlier incarnation of A until `free`; or it can't be given before `free`.
(declare-const bound Bool)
(declare-const start_B Real)           ; of one that doubts
(declare-const free Real)
(declare-const turn Real)              ; B's first turn from then on: it may be late
(assert (=> (not bound) (and (< heard free) (<= free turn))))
(assert (=> (not doubts) (< echo_B heard)))
; Of one that doubts: it echoes and is echoed in this incarnation; quarantine; and whose word let A come
; from c: an earlier incarnation's, which had heard that A goes toward c', or its own after quarantine ("a
; candidate in quarantine is not as far").
(declare-const let_go Real)            ; when that word was sent
(assert (=> doubts (and (<= start_B echo_B) (<= toward_A let_go) (<= let_go from_A)
  (or (< let_go start_B) (<= (+ start_B G) let_go)))))
(assert (=> doubts (= bound (<= (+ start_B G) heard))))
(assert (=> (and doubts (not bound)) (= free (+ start_B G))))

; B takes hold by c' alone at `hold`: its own vote is free (R-7). (If A freed it before, its hold was over: R-5.)
(declare-const hold Real)
(assert (<= goes_on hold))
(assert (=> bound (<= (+ heard F_vote) hold)))
(assert (=> (not bound) (<= turn hold)))
; R-4: a vote that becomes free is offered to a candidate that is two-way and asks: then it is bound until D after
; that ask arrived, by the timing of c' now.
(assert (=> (and (not bound) (< turn (+ echo_B F1)) (< turn (+ heard F1))) (<= (+ heard F1) hold)))
; R-11: while a holder is heard, B asks everybody only if that yields.
(assert (=> (< hold (+ heard F1)) yields))
(define-fun two () Bool (< hold shut))

; The two conditions. A vote that becomes free later may be offered to A (R-4), by D after the ask arrived. And what a
; member said that is not heard any more, for D, counts as nothing said: then B goes on without a vote.
(declare-const vote_first Bool)
(declare-const short_first Bool)
(declare-const offered Bool)
(assert (=> offered (<= (+ heard F_vote) hold)))
(assert (=> vote_first (or bound offered (<= (+ heard F_vote) goes_on))))
(assert (=> short_first (<= shut (+ from_A E_change))))
; Clocks that are true and a gate that shuts in time, so that runs are exact. An echo counts for D (R-4).
(define-fun exact () Bool (and (= E0 F0) (= E1 F1) (= G F_change)
  (< heard (+ echo_B (ite doubts F1 F_change)))))
; How B's vote is bound to an earlier incarnation of A when A's word comes: that one's last ask was sent
; before A was started again, echoes an advert of B from before that, and came less than D later (R-4). B has met the
; present incarnation after that, and A has taken its lease after quarantine.
(declare-const start_A Real)
(declare-const late_ask Real)
(define-fun earlier_ask () Bool (and (< late_ask (+ start_A F_change)) (= free (+ late_ask F_change))
  (<= (+ start_A G) a) (< late_ask echo_B) (<= toward_A echo_B)))
(define-fun on_time () Bool (=> (not bound) (= turn free)))

(echo "2. B never holds by c' alone while A's lease by c lasts")
(push)
(assert (and vote_first short_first))
(assert two)
(check-sat) ; expect: unsat
(pop)

(echo "2. who settles: the first of them is enough")
(push)
(assert (and (not doubts) vote_first))
(assert two)
(check-sat) ; expect: unsat
(pop)

(echo "2. with the same lease before and after, who doubts: the first of them is enough")
(push)
(assert (and doubts vote_first (= E0 E1) (= F0 F1)))
(assert two)
(check-sat) ; expect: unsat
(pop)

(echo "2. WITHOUT short_first: B was started with c', whose lease is shorter; its vote ends before A's lease of c")
(push)
(assert (and exact vote_first doubts bound (not yields)))
(assert (and (= E0 1000.0) (= E1 300.0) (= start_B 0.0) (= toward_A 5000.0) (= a 4999.0) taken_before))
(assert (and (= let_go 5001.0) (= from_A 5002.0) (= sent 5002.0) (= heard 5003.0) (= echo_B 5001.0)))
(assert two)
(push)
(assert short_first)
(check-sat) ; expect: unsat
(pop)
(check-sat) ; expect: sat
(get-value (a toward_A from_A heard hold shut))
(pop)

(echo "2. WITHOUT BOTH: nobody doubts, c' has a shorter lease; B's vote is bound to an incarnation of A that died")
(push)
(assert (and exact (not doubts) (not bound) (not yields) earlier_ask on_time (not vote_first) (not short_first)))
(assert (and (= E0 1000.0) (= E1 300.0) (= start_A 0.0) taken_before))
(assert two)
(check-sat) ; expect: sat
(get-value (late_ask a toward_A from_A echo_B heard free hold shut))
(pop)

(echo "2. WITHOUT vote_first: one lease for both; B ends its doubt in quarantine, and A yields")
(push)
(assert (and exact doubts (not bound) on_time (not vote_first) short_first))
(assert (and (= E0 450.0) (= E1 450.0) (= start_B 0.0) (not taken_before) (< (+ hold 100.0) shut)))
(assert two)
(check-sat) ; expect: sat
(get-value (let_go a from_A echo_B sent heard free hold shut))
(pop)

(echo "2. WITHOUT vote_first: one lease for both; the vote for one that died is free, A yields, and B's turn is late")
(push)
(assert (and exact (not doubts) (not bound) earlier_ask (not vote_first) short_first))
(assert (and (= E0 450.0) (= E1 450.0) (= start_A 0.0) (not taken_before)))
(assert two)
(check-sat) ; expect: sat
(get-value (late_ask a from_A echo_B heard free turn hold shut))
(pop)

(echo "2. one lease for both, and on time: the vote is offered to A first")
(push)
(assert (and exact (not doubts) (not bound) earlier_ask on_time (= E0 E1)))
(assert two)
(check-sat) ; expect: unsat
(pop)

(echo "2. the second condition alone is enough if A does not yield: B hears a holder, and asks nobody (R-11)")
(push)
(assert (and short_first (not yields)))
(assert two)
(check-sat) ; expect: unsat
(pop)
