import sys
from statistics import median
from concurrent.futures import ProcessPoolExecutor
from attrs import evolve
from benchmarks.routing import SCENARIOS, MORE, POLICIES
from benchmarks.simulation.world import run, Scenario, Lognormal
known={s.name:s for s in SCENARIOS+MORE}
D=dict(interval=3.0,busy_interval=1.1)
for n in ("base","homogeneous","background","95 % load","ghosts","500 nodes"):
    known["d "+n]=evolve(known[n],name="d "+n,**D)
CR={
 "crash 1/10":Scenario("crash 1/10",nodes=10,load=.6,speeds=(1,1),crashing=1,jobs=2400,**D),
 "crash 1/3":Scenario("crash 1/3",nodes=3,load=.6,speeds=(1,1),crashing=1,jobs=720,**D),
 "crash 1/2":Scenario("crash 1/2",nodes=2,load=.4,speeds=(1,1),slots=2,crashing=1,jobs=640,**D),
 "crash 1/2 short":Scenario("crash 1/2 short",nodes=2,load=.8,speeds=(10,10),work=Lognormal(.2),crashing=1,jobs=4000,**D),
 "crash 5/10":Scenario("crash 5/10",nodes=10,load=.4,speeds=(1,1),crashing=5,jobs=1600,**D),
}
ST={
 "stall 1/10":Scenario("stall 1/10",nodes=10,load=.4,speeds=(1,1),stalling=1,jobs=1600,**D),
 "stall 1/2":Scenario("stall 1/2",nodes=2,load=.4,speeds=(1,1),stalling=1,jobs=400,**D),
 "stall 5/50":Scenario("stall 5/50",nodes=50,load=.8,speeds=(1,1),stalling=5,jobs=16000,**D),
}
BO={
 "boost 1/10 60":Scenario("boost 1/10 60",nodes=10,load=.6,speeds=(1,1),boosted=1,jobs=2400,**D),
 "boost 1/10 40":Scenario("boost 1/10 40",nodes=10,load=.4,speeds=(1,1),boosted=1,jobs=1600,**D),
 "boost 1/2":Scenario("boost 1/2",nodes=2,load=.5,speeds=(1,1),boosted=1,jobs=400,**D),
 "boost 1/10 short":Scenario("boost 1/10 short",nodes=10,load=.6,speeds=(10,10),work=Lognormal(.2),boosted=1,jobs=24000,**D),
}
WA={"watch":Scenario("watch",watching=300,jobs=3000,**D),"watch0":Scenario("watch0",jobs=3000,**D)}
allS={**known,**CR,**ST,**BO,**WA}
def one(a):
    n,p,seed,j=a
    s=allS[n]
    if j and n in known: s=evolve(s,jobs=j*(s.nodes>100 and 2 or 1))
    o=run(s,POLICIES[p],seed)
    k=max(s.crashing,s.stalling,s.boosted)
    after=[(t-o.changed,x,l) for t,x,l in o.placed if t>=o.changed]
    lost=[l for t,x,l in after if t<180]
    shares=[]
    for m in range(16):
        sel=[x for t,x,l in after if m*30<=t<m*30+30]
        shares.append(sum(x<k for x in sel)/len(sel)*s.nodes/k if sel and k else 0)
    early=sorted(o.times[:0])
    return o.mean,o.quantile(.99),o.share_lost,sum(lost)/max(1,len(lost)),shares
def main(names,seeds=(11,12,13,14),j=30000):
    with ProcessPoolExecutor(2) as ex:
        jobs=[(n,p,s,j) for n in names for p in ("ours","oracle") for s in seeds]
        res=dict(zip(jobs,ex.map(one,jobs)))
    for n in names:
        m=median(res[n,"ours",s,j][0]/res[n,"oracle",s,j][0] for s in seeds); q=median(res[n,"ours",s,j][1]/res[n,"oracle",s,j][1] for s in seeds)
        x=""
        if n in CR: x="lost after %.1f%% (max %.1f)"%(100*median(res[n,"ours",s,j][3] for s in seeds),100*max(res[n,"ours",s,j][3] for s in seeds))
        if n in ST or n in BO: x="share by 30 s "+" ".join("%.2f"%median(res[n,"ours",s,j][4][k] for s in seeds) for k in range(14))
        print("%-18s %.3f %.3f lost %.2f%% %s"%(n,m,q,100*median(res[n,"ours",s,j][2] for s in seeds),x),flush=True)
G={"old":["base","homogeneous","background","95 % load","30 s polls","ghosts","slow-down","instant failers","speed-up","1 s polls","3 nodes","4 slots","failers in 10","half load"],
"def":["d base","d homogeneous","d background","d 95 % load","d ghosts"],"crash":list(CR),"stall":list(ST),"boost":list(BO),"watch":list(WA),"all":None}
if __name__=="__main__":
    names=[]
    for a in sys.argv[1:]: names+=G.get(a,[a])
    main(names)
